// Package hubstore keeps what a hub must not forget about its devices and policies, and holds all of the hub's SQL: identities, keys,
// status, the last time a device was heard of. Messages are not here; they are in the event log.
//
// SQLite in one file of the hub's data directory is the default; PostgreSQL stands beside it with the same schema and the same
// statements. Changes are made inside a function given to [Store.Write]; when Write returns nil they are on the disk, when the
// function fails nothing of it is left.
//
// Queries in the language of hub/query become SQL here: values are bound, never written into the text, and a keyset leads from page to
// page. twin_terms is an index of what twins hold, kept in step by SetTwin in the same transaction; it narrows a search down, and the
// condition is judged again on the twin. Undefined is NULL, so that SQL's AND, OR and NOT are the language's.
//
// Invariants: a device's id is unique in its hub and compared byte for byte; keys are in this file in clear, because a signature can
// be checked in no other way, so the file is 0600; a database written by a newer program is refused and not touched.
//
// Faults: NotFound, Conflict, Exhausted when the disk is full, Unavailable when the database is busy. The package starts no
// goroutines of its own. A Store is safe for concurrent use, a Tx is not and ends with its function.
package hubstore
