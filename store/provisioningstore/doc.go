// Package provisioningstore keeps what a provisioning service must not forget, and holds all of its SQL: its id scope and secret,
// policies, enrollments and enrollment groups, registrations, linked hubs and certificates of authorities.
//
// SQLite in one file of the hub's data directory is the default; PostgreSQL stands beside it with the same schema and the same
// statements, and may be the database that hubstore uses: the names of the tables differ. Changes are made inside a function given to
// [Store.Write]; when Write returns nil they are on the disk, when the function fails nothing of it is left.
//
// Invariants: an id is unique in its service and kind; documents are JSON and are not looked into here; the keys of enrollments and
// the connection strings of linked hubs are in this file in clear, because a signature can be checked and made in no other way, so
// the file is 0600; [Service].Revision grows with every change of a group or a certificate, so that whoever keeps them in memory can
// tell that they are old.
//
// Faults: NotFound, Conflict, Exhausted when the disk is full, Unavailable when the database is busy. The package starts no
// goroutines of its own. A Store is safe for concurrent use, a Tx is not and ends with its function.
package provisioningstore
