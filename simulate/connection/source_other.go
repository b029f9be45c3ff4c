//go:build !linux

package connection

import "syscall"

// portWhenConnecting is Linux's only; elsewhere a port is chosen when the address is.
func portWhenConnecting(_, _ string, _ syscall.RawConn) error { return nil }
