// Package eventhubstore keeps what namespaces of event hubs must not forget beside the events, and holds all of its SQL: event hubs,
// policies with their keys, consumer groups, and how far processors have come and which partitions they own.
//
// SQLite in one file of the hub process's data directory is the default; PostgreSQL stands beside it with the same schema and the same
// statements, and may be the database that hubstore uses: the names of the tables differ. Changes are made inside a function given to
// [Store.Write], or to [Store.Together] for small ones that come often; when it returns nil they are on the disk, when the function
// fails nothing of it is left.
//
// Invariants: names are kept as they were spelled, and found by their lower-case form; what belongs to an event hub goes with it; one of
// two claims of an ownership with the same etag succeeds; keys of policies are in this file in clear, because a signature can be checked
// in no other way, so the file is 0600.
//
// Faults: NotFound, Precondition when an etag is not the one that is stored, Exhausted when the disk is full, Unavailable when the
// database is busy. A Store is safe for concurrent use, a Tx is not and ends with its function. The only goroutine is that of
// store/database for what is written together.
package eventhubstore
