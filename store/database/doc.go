// Package database opens the one kind of database the house has, for the packages that keep tables in it: SQLite in one file, or
// PostgreSQL, told apart by a small dialect. A package brings a [Schema] (its migrations, and words for what it stores) and runs its
// statements in functions given to [DB.Write] and [DB.View], or one by one through [DB.Reading].
//
// Invariants:
//   - one Write runs at a time among all who opened the same database with the same schema, in this process or in another: it sees
//     everything those before it did;
//   - when Write returns nil its work is on the disk (WAL with synchronous=FULL); a function that fails, or panics, leaves nothing;
//   - the same holds for each function given to [DB.Submit], although many share one transaction and one fsync;
//   - a schema is brought up to date in one transaction, and one that is newer than the program is refused and not touched;
//   - a file is made readable by its owner only, for there are keys in it.
//
// Faults: Conflict when something exists already or is still referred to, Exhausted when the disk is full, Unavailable when the
// database is busy or away, Timeout when the context ends. The one goroutine of the package carries out what was submitted and ends when
// nothing is left; Close waits for it (and ends those of database/sql). A DB is safe for concurrent use, a Session is not when it came from Write or View, and ends with its function.
package database
