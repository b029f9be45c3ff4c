//go:build unix

package simulate

import (
	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/fault"
)

// raiseFileLimit lets this process open so many files, if it may: each connection is one.
func raiseFileLimit(want int) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || !below(l.Cur, want) {
		return nil
	}
	raised := l
	setLimit(&raised.Cur, want)
	if below(l.Max, want) {
		setLimit(&raised.Max, want) // as root it works
	}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
		return nil
	}
	return fault.Newf("simulate.raiseFileLimit", fault.Exhausted, "so many devices need %d open files, and this process may open %d", want, l.Max).
		Advise("raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker), or use several processes with DeviceIndex apart")
}

// Systems differ in the type of a limit.
func setLimit[T int64 | uint64](l *T, want int)  { *l = T(want) }
func below[T int64 | uint64](l T, want int) bool { return uint64(l) < uint64(want) }
