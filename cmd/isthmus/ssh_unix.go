//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/isthmus-io/isthmus/fault"
)

// become makes this process be another program, with the terminal, the signals and the exit code that are its own then. It returns only
// when that is impossible.
func become(program string, args []string) error {
	err := syscall.Exec(program, append([]string{filepath.Base(program)}, args...), os.Environ()) //nolint:gosec // running ssh is what is asked for
	return fault.Wrap("isthmus.ssh", fault.Unavailable, err, program+" cannot be started: "+err.Error())
}
