//go:build unix

package carry

import "golang.org/x/sys/unix"

// raiseFiles lets the tests have as many connections as they need.
func raiseFiles() {
	for _, n := range []uint64{200_000, 65_536, 20_000} {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}) == nil {
			return
		}
	}
}
