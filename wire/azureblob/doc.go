// Package azureblob reads and writes what the Azure Blob REST protocol says in queries, headers and XML, as far as programs that upload
// files use it: signed links (Create a service SAS), lists of blocks (Put Block List, Get Block List), errors, and which operation a
// request is. It holds no state and opens nothing; what an operation does is its caller's business.
//
// A [Link] names one blob, what may be done with it and until when. Its signature covers all of that, under a key which only the hub
// has, so it is ours and not a storage account's: clients pass it on as they got it. Nothing but names that clients of Azure know is in
// the query, because some of them drop what they do not know.
//
// Signatures are compared in constant time. What a peer sends is bounded: a query to 8 KiB, a list to [MaxBlocks].
package azureblob
