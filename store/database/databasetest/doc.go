// Package databasetest runs tests of what keeps tables in a database over every database there is: SQLite always, and PostgreSQL,
// which a test binary starts for itself in a temporary directory when the machine has its programs.
//
// A package's TestMain is [Main], and its tests call [Server.Each]. With ISTHMUS_NEED_POSTGRES set a machine without PostgreSQL is a
// failure. Main ends the process and the goroutine it began before it looks for goroutines that are left.
package databasetest
