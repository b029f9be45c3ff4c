//go:build !linux

package databasetest

const programs = "/usr/lib/postgresql"

// startPostgres looks for the programs where Debian puts them, so elsewhere there are none.
func startPostgres() (dir string, stop func(), err error) { return "", nil, nil }
