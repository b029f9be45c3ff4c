//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/gateway"
)

// drainOnTerm returns a context that SIGTERM does not end: it has the gateway drain, once one runs. Another signal, or the end of parent
// without a signal, ends it.
func drainOnTerm(parent context.Context, running <-chan *gateway.Gateway) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		var g *gateway.Gateway
		asked := false
		ended := parent.Done()
		for {
			select {
			case g = <-running:
				if asked {
					g.Drain(0)
				}
			case s := <-signals:
				ended = nil // the parent ends by the same signal
				if s != syscall.SIGTERM || asked {
					cancel()
					return
				}
				if asked = true; g != nil {
					g.Drain(0)
					continue
				}
				cancel() // nothing is carried yet
				return
			case <-ended:
				// By a signal, which comes on our channel too, a moment earlier or later; or because whoever called us is done.
				ended = nil
				select {
				case s := <-signals:
					signals <- s
				case <-time.After(100 * time.Millisecond):
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

// shareAddress lets two processes of one user listen on an address.
func shareAddress(_, _ string, c syscall.RawConn) (err error) {
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
		return e
	}
	return err
}
