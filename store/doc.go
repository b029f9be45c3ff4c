// Package store keeps the control plane's state and holds all of its SQL: nouns as documents, addresses, link ids, tokens, link
// keys, revoked identities, settings and the audit chain.
//
// SQLite in one file is the default; PostgreSQL stands beside it with the same schema and the same statements, and
// [github.com/isthmus-io/isthmus/store/database] opens either. All work is done inside a function given to [Store.Update] or
// [Store.View]; a function that fails, or panics, leaves nothing behind.
//
// Invariants:
//   - one Update runs at a time, in the whole deployment: an Update sees everything those before it did;
//   - when Update returns nil its work is on the disk (WAL with synchronous=FULL);
//   - an address of a network, a link id, the identity and the uid of a noun are each given once;
//   - secrets of tokens are never here, only their hashes; audit records can be added and not changed;
//   - a database written by a newer program is refused and not touched.
//
// Faults: NotFound and Conflict as one would think, Exhausted when the disk is full, Unavailable when the database is busy or
// away. The package starts no goroutines of its own (database/sql's are ended by Close). A Store is safe for concurrent use, a
// Tx is not and ends with its function.
package store
