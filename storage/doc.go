// Package storage is blob services without a wire: accounts, their containers and blobs, and who may do what with them. A door
// (storage/httpdoor) translates Azure's Blob REST into calls of this package and holds no state of its own.
//
// One [Server] is one process and has any number of accounts. An [Account] is known to clients by its host names, of which the first label of
// the public one is its name in signatures. Containers are declared by its resource, or made by clients beside those.
//
// A blob is a row under its name, in store/storagestore, and a content. Contents of more than [Small] bytes are in a blob.Store, on a disk
// or in any bucket that one can be in, under ids of their own; they never change, so that a blob becomes another one in the moment in
// which its row does. The rows are the truth: what a bucket holds beside them means nothing, and a bucket without them neither. Copies
// share a content; one that no blob has is deleted a minute later.
//
// Invariants:
//   - a blob is the old one until the new one is durable, and nobody ever sees a part of either;
//   - a condition (etag, time, lease) holds in the moment of the change it is for, also of changes by other processes with the same database,
//     and whatever keeps the contents: of two writers with the same etag, one succeeds;
//   - every change of a blob gives it another etag, which it never had before;
//   - leases are kept with their blobs and survive a restart;
//   - a list goes on where it stopped, whatever was written meanwhile: what was there all the time is in it once;
//   - blocks that wait belong to a blob of a container of this incarnation, and end a week after the last came;
//   - keys appear in no log and no error; anonymous access never is.
//
// What is not here: other sorts of blobs than block blobs, snapshots, versions, tags, tiers, leases of containers, stored access policies.
//
// The package starts no goroutine of its own but those of [Server.Run], which has ended them when it returns. Everything else runs on
// callers' goroutines and is safe for concurrent use.
package storage
