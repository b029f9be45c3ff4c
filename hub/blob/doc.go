// Package blob keeps blobs: on a disk, or in a bucket of an object store. A blob is whole or it is not there; one that is written anew is
// the old one until the new one is whole. What was written is on the disk, or with the object store, when the call returns.
//
// Blobs that come in parts are staged first: blocks wait on the local disk, in a folder of their upload, with a checksum each, until a list
// says which of them make the blob and in which order. They survive a restart, so that an upload goes on where it stopped.
//
// A name is text with slashes; on a disk it is a path of the same look below the store's folder, in which everything unusual is
// percent-encoded, so that no name leads elsewhere, not through links either. Content goes through in pieces and is never in memory whole.
//
// What others can make the store hold is bounded: the size of a blob, blocks of one upload, staged bytes together, and free space on the
// disk that is left alone. Over a bound, a call is TooLarge or Exhausted and nothing of it is left.
//
// The store starts no goroutines. Who may do what is the caller's business.
package blob
