//go:build !unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"

	"github.com/isthmus-io/isthmus/fault"
)

// become runs another program in this one's place. An interrupt reaches both of them, by the console, and is the other's to answer.
func become(program string, args []string) error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	c := exec.Command(program, args...) //nolint:noctx // it ends by itself, or by the console
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitCode(exit.ExitCode())
	}
	if err != nil {
		return fault.Wrap("isthmus.ssh", fault.Unavailable, err, program+" cannot be started: "+err.Error())
	}
	return nil
}
