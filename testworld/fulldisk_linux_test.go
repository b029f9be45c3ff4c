package testworld_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/testworld"
)

// TestFullDisk lets the disk under a whole deployment run full, in two steps: first down to what the hub keeps in reserve, then to the
// last byte. Every message that was acknowledged stays readable throughout, and everything works again, with nothing restarted, once
// there is room.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, 160<<20)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := testworld.Start(ctx, testworld.Config{Dir: filepath.Join(disk.dir, "world")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("closing the world: %v", err)
		}
	})
	s, err := w.Standard(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d := connect(t, s, "press-1")
	var acknowledged []string
	store := func(n int) {
		for range n {
			body := fmt.Sprintf("message %d", len(acknowledged))
			if d.Send(ctx, []byte(body), nil) != nil {
				return
			}
			acknowledged = append(acknowledged, body)
		}
	}
	store(50)
	before := everything(t, s)

	disk.fill(t, 60<<20) // the log keeps 64 MiB in reserve
	select {
	case <-d.Done():
		t.Fatal("the device lost its connection before it sent anything")
	default:
		store(1 << 20) // the log looks at the disk every now and then, so a few may still get in
	}
	d.Close()
	// A flow that came before the hub heard of its link may have been refused as well.
	full := func() int {
		return slices.IndexFunc(s.HubProcess.Server().Refusals(), func(r hub.Refusal) bool { return r.Kind == fault.Exhausted })
	}
	eventually(t, 5*time.Second, "the hub says why", func() bool { return full() >= 0 })
	r := s.HubProcess.Server().Refusals()[full()]
	refused{words: []string{"the disk holding " + disk.dir, "is full", "the event was not stored"}, next: []string{"free space on that disk", "stored events are safe"}}.
		checkWords(t, r.Why, r.Next)
	if len(acknowledged) < 50 || ctx.Err() != nil {
		t.Fatalf("%d messages were acknowledged, %v", len(acknowledged), ctx.Err())
	}
	holds(t, s, before, acknowledged)

	disk.fill(t, 0)
	refused{fault.Exhausted, []string{"the disk that holds the control plane's state is full", "nothing stored before is lost"}, []string{"free space for", "then do it again"}}.
		check(t, grow(t, s))
	h, err := s.Hub()
	if err != nil {
		t.Fatal(err)
	}
	refused{fault.Exhausted, []string{"the disk that holds the hub's devices is full"}, []string{"free space"}}.check(t, grown(t, "press", func(id string) error {
		_, err := h.CreateDevice(ctx, device(id))
		return err
	}))
	holds(t, s, before, acknowledged)

	disk.free(t)
	if err := s.Apply(ctx, network("after", "10.9.0.0/24")); err != nil {
		t.Errorf("with room again: %v", err)
	}
	d = connect(t, s, "press-1")
	eventually(t, 10*time.Second, "messages are accepted again", func() bool {
		if d.Send(ctx, []byte("with room again"), nil) == nil {
			return true
		}
		d.Close()
		d = connect(t, s, "press-1")
		return false
	})
	d.Close()
	holds(t, s, before, acknowledged)
	if err := s.Client.VerifyAudit(ctx); err != nil {
		t.Error(err)
	}
}

// holds fails unless everything that was there before is there, and every acknowledged message, once.
func holds(t *testing.T, s *testworld.Scenario, before, acknowledged []string) {
	t.Helper()
	now := everything(t, s)
	for _, x := range before {
		if !slices.Contains(now, x) {
			t.Errorf("it is gone or has changed: %s", x)
		}
	}
	count := map[string]int{}
	for _, m := range messages(t, s) {
		_, body, _ := strings.Cut(m, " ")
		count[body]++
	}
	for _, body := range acknowledged {
		if count[body] != 1 {
			t.Errorf("%q was acknowledged and is stored %d times", body, count[body])
		}
	}
}

// grow makes networks until one is refused: the database may have a few free pages of its own.
func grow(t *testing.T, s *testworld.Scenario) error {
	return grown(t, "net", func(name string) error { return s.Apply(t.Context(), network(name, "10.9.0.0/24")) })
}

func grown(t *testing.T, prefix string, once func(name string) error) error {
	t.Helper()
	for i := range 500 {
		if err := once(fmt.Sprintf("%s-%d", prefix, i)); err != nil {
			return err
		}
	}
	t.Fatal("500 were stored on a full disk")
	return nil
}

// tmpfs is a disk of its own size, and the file that fills it.
type tmpfs struct{ dir, ballast string }

// smallDisk mounts one, which needs root.
func smallDisk(t *testing.T, size int64) tmpfs {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("isthmus-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return tmpfs{dir, filepath.Join(dir, "ballast")}
}

// fill writes until only so many bytes are left.
func (d tmpfs) fill(t *testing.T, left int64) {
	t.Helper()
	f, err := os.OpenFile(d.ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := bytes.Repeat([]byte{1}, 1<<20)
	for {
		var st unix.Statfs_t
		if err := unix.Statfs(d.dir, &st); err != nil {
			t.Fatal(err)
		}
		over := int64(st.Bavail)*st.Bsize - left
		if over <= 0 {
			return
		}
		if _, err := f.Write(block[:min(over, int64(len(block)))]); err != nil && left > 0 {
			t.Fatal(err)
		}
	}
}

func (d tmpfs) free(t *testing.T) {
	t.Helper()
	if err := os.Remove(d.ballast); err != nil {
		t.Fatal(err)
	}
}
