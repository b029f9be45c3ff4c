//go:build !unix

package mux

import "net"

type rawSink interface{ write(p []byte) int }

func newRawSink(net.Conn) rawSink { return nil }
