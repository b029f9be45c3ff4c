//go:build !unix

package mux

import "io"

type rawSource struct{}

func newRawSource(io.Reader) *rawSource { return nil }

func (*rawSource) pull(int) (*segment, error) { return nil, io.EOF }
