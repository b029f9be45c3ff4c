//go:build unix

package conformance

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var portsTaken atomic.Bool // by a test of this process, which may make more than one world

// portsPatience is how long a test waits for those of another process.
const portsPatience = 20 * time.Second

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
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(portsPatience); ; <-tick.C {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return true
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Log("another process's tests have the standard ports: others stand in for them")
			return false
		}
	}
}
