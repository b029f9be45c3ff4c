// Package storagestore keeps what blob services must not forget beside the content of large blobs, and holds all of its SQL: accounts with
// their keys, containers, blobs by name with their properties, leases and small contents, lists of blocks, and which contents are to be
// deleted.
//
// SQLite in one file of the hub process's data directory is the default; PostgreSQL stands beside it with the same schema and the same
// statements, and may be the database that hubstore uses: the names of the tables differ. Changes are made inside a function given to
// [Store.Write], or to [Store.Together] for small ones that come often; when it returns nil they are on the disk, when the function
// fails nothing of it is left.
//
// Invariants: names of blobs are compared byte by byte, and listed in that order; what belongs to a container goes with it; a content that
// no blob has any more is garbage in the same moment; keys are in this file in clear, because a signature can be checked in no other way,
// so the file is 0600.
//
// Faults: NotFound, Exhausted when the disk is full, Unavailable when the database is busy. A Store is safe for concurrent use, a Tx is
// not and ends with its function. The only goroutine is that of store/database for what is written together.
package storagestore
