//go:build unix

package mux

import (
	"io"
	"net"
	"testing"
)

// a probe is given the reader that io.Copy hands to ReadFrom.
type probe struct {
	io.Writer
	got *rawSource
}

func (p *probe) ReadFrom(r io.Reader) (int64, error) {
	p.got = newRawSource(r)
	return 0, nil
}

// TestCopyFromTCPWaitsWithoutABuffer: io.Copy wraps a TCP connection before it asks for ReadFrom, and the descriptor must still be
// found.
func TestCopyFromTCPWaitsWithoutABuffer(t *testing.T) {
	p := &probe{Writer: io.Discard}
	if a, _ := net.Pipe(); newRawSource(a) != nil {
		t.Error("a pipe has no descriptor")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.Copy(p, c); err != nil || p.got == nil {
		t.Errorf("not found: %v", err)
	}
}
