//go:build unix

package simulate

import (
	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/fault"
)

// raiseFileLimit lets this process open so many files, if it may: each connection is one.
func raiseFileLimit(want int) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || uint64(l.Cur) >= uint64(want) {
		return nil
	}
	raised := l
	setLimit(&raised.Cur, want)
	if uint64(l.Max) < uint64(want) {
		setLimit(&raised.Max, want) // as root it works
	}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
		return nil
	}
	return fault.Newf("simulate.raiseFileLimit", fault.Exhausted, "so many devices need %d open files, and this process may open %d", want, l.Max).
		Advise("raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker), or use several processes with DeviceIndex apart")
}

// setLimit hides that systems differ in the type.
func setLimit[T int64 | uint64](l *T, want int) { *l = T(want) }
