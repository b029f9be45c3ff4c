//go:build unix

package conformance

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
)

var portsTaken atomic.Bool // by a test of this process, which may make more than one world

// lockPorts waits until no other process uses the standard ports for its tests.
func lockPorts(t *testing.T) bool {
	t.Helper()
	if !portsTaken.CompareAndSwap(false, true) {
		return false
	}
	t.Cleanup(func() { portsTaken.Store(false) })
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "isthmus-standard-ports.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Logf("%v: other ports stand in for the standard ones", err)
		return false
	}
	t.Cleanup(func() { _ = f.Close() }) // which gives the lock back
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return true
}
