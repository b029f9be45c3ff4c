//go:build !unix

package main

import (
	"context"
	"syscall"

	"github.com/isthmus-io/isthmus/gateway"
)

// drainOnTerm: without SIGTERM the end of parent is the end.
func drainOnTerm(parent context.Context, _ <-chan *gateway.Gateway) (context.Context, func()) {
	return context.WithCancel(parent)
}

func shareAddress(string, string, syscall.RawConn) error { return nil }
