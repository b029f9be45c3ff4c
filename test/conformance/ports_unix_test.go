//go:build unix

package conformance

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var portsTaken atomic.Bool // by a test of this process, which may make more than one world

// lockPorts waits until no other process uses the standard ports for its tests. They take turns: who waits for the ports has the turn, so that
// one who gives them back does not get them again at once.
func lockPorts(t *testing.T) bool {
	t.Helper()
	if !portsTaken.CompareAndSwap(false, true) {
		return false
	}
	t.Cleanup(func() { portsTaken.Store(false) })
	end := time.Now().Add(patience)
	turn := lockFile(t, "isthmus-standard-ports.turn", end)
	if turn == nil {
		return false
	}
	defer func() { _ = turn.Close() }()
	ports := lockFile(t, "isthmus-standard-ports.lock", end)
	if ports == nil {
		return false
	}
	t.Cleanup(func() { _ = ports.Close() }) // which gives the lock back
	return true
}

// lockFile takes a lock, or fails at end with the name of who has it, as he wrote it down. nil: this process may have no such file.
func lockFile(t *testing.T, name string, end time.Time) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Logf("%v: other ports stand in for the standard ones", err)
		return nil
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		if time.Now().After(end) {
			holder, _ := io.ReadAll(io.LimitReader(f, 1<<10))
			_ = f.Close()
			t.Fatalf("the standard ports are not free after %v: %s has %s. Wait until it ends, or end it", patience, holder, name)
		}
		<-tick.C
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%s of process %d, since %s,", t.Name(), os.Getpid(), time.Now().Format(time.TimeOnly))
	return f
}
