package gateway_test

import "syscall"

const canHandOver = true

// raiseFiles lets this process open as many files as it may.
func raiseFiles() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	l.Cur = l.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	return int(min(l.Cur, 1<<30))
}
