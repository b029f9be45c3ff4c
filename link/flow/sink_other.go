//go:build !unix

package flow

import "io"

// sink returns where the stream's bytes go.
func (f *flow) sink() io.Writer { return socketWriter{f} }
