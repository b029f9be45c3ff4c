//go:build unix

package mux_test

import (
	"syscall"
	"testing"
)

// cpu reports the processor time of the whole process for each operation: on a machine that does other things too, it says more than
// the clock on the wall.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}
