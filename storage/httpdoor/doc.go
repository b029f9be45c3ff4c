// Package httpdoor answers Azure's Blob REST for accounts of package storage: what @azure/storage-blob, azblob, gocloud.dev/blob and the
// checkpoint stores of the Event Hubs SDKs do with block blobs. docs/blob-api.md lists the operations; routes.go is the table they are
// checked against.
//
// A request proves itself by Shared Key or Shared Key Lite, by a shared access signature of the account, of a container or of a blob, or by
// the token of a workload. Nobody is let in without one of these; the handler of a local socket, for whoever may open it, asks for none, and
// shows keys besides.
//
// What is not here is refused with words: other sorts of blobs, snapshots, versions, tags, tiers, batches, leases of containers, public
// access, stored access policies, user delegation, customers' encryption keys. Leaving them out silently would be a lie.
//
// It is a handler and not a server: connections, and who may speak to which account at all, are its caller's business. An operation returns
// its error; one function writes it, by one table from reasons and kinds of fault to statuses and codes.
//
// Bodies go through in pieces, a bounded number at a time (package hub/intake). The door holds no state but those counts, and owns no
// goroutines.
package httpdoor
