package eventlog_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

func child(t *testing.T, what, dir string) (*exec.Cmd, io.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "EVENTLOG_TEST_CHILD="+what, "EVENTLOG_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// content makes a body whose every byte can be checked from its name.
func content(writer, i int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%d/%d;", writer, i), 1+(writer*7+i)%60)
}

// childWriter appends from 32 writers and tells each acknowledgement on its standard output, until it is killed.
func childWriter() int {
	l, err := eventlog.Open(eventlog.Config{Dir: os.Getenv("EVENTLOG_TEST_DIR"), Partitions: 2, Reserve: 1}, quiet(), clock.System{}, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() { _ = l.Run(context.Background()) }()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := 0; ; i++ {
				pos, err := l.Append(context.Background(), "hub", fmt.Sprint("writer-", w), eventlog.Event{Body: content(w, i)})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				mu.Lock()
				fmt.Printf("%d %d %d %d %d\n", w, i, pos.Partition, pos.Sequence, pos.Offset)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return 1
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	type ack struct {
		w, i      int
		partition int
		seq, off  int64
	}
	var acked []ack
	for round := range 3 {
		cmd, out := child(t, "writer", dir)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var a ack
			if _, err := fmt.Sscan(lines.Text(), &a.w, &a.i, &a.partition, &a.seq, &a.off); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			acked = append(acked, a)
			if n == 500+400*round {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child was not killed")
		}
	}
	l := open(t, eventlog.Config{Dir: dir}, clock.System{})
	var all [2][]eventlog.Event
	for p := range all {
		_, next := l.Bounds("hub", p)
		for from := int64(0); from < next; from = int64(len(all[p])) {
			events, err := l.Read(t.Context(), "hub", p, from, 0)
			if err != nil {
				t.Fatal(err)
			}
			all[p] = append(all[p], events...)
		}
		for i, ev := range all[p] { // acknowledged or not: whole, and each once
			var w, n int
			if _, err := fmt.Sscanf(string(ev.Body), "%d/%d;", &w, &n); err != nil || ev.Sequence != int64(i) || !bytes.Equal(ev.Body, content(w, n)) {
				t.Fatalf("event %d of partition %d is torn: %+v", i, p, ev)
			}
		}
	}
	for _, a := range acked {
		if a.seq >= int64(len(all[a.partition])) {
			t.Fatalf("acknowledged event %+v is lost", a)
		}
		if ev := all[a.partition][a.seq]; ev.Offset != a.off || !bytes.Equal(ev.Body, content(a.w, a.i)) {
			t.Fatalf("acknowledged as %+v, found %+v", a, ev)
		}
	}
	t.Logf("%d acknowledged, %d found", len(acked), len(all[0])+len(all[1]))
}

// childBroken works on a disk which fails every write and sync of the log file from the 200th on, and must end with words.
func childBroken() int {
	dir := os.Getenv("EVENTLOG_TEST_DIR")
	writes := 0
	var mu sync.Mutex
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if writes++; writes > 200 {
			return syscall.EIO
		}
		return nil
	}))
	l, err := eventlog.Open(eventlog.Config{Dir: dir, Partitions: 1, Reserve: 1, FS: fs}, quiet(), clock.System{}, nil)
	if err != nil {
		fmt.Println("open:", err)
		return 1
	}
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	acked := 0
	for {
		if _, err = l.Append(context.Background(), "hub", "k", eventlog.Event{Body: content(0, acked)}); err != nil {
			break
		}
		acked++
	}
	_, again := l.Append(context.Background(), "hub", "k", eventlog.Event{})
	waited := l.Wait(context.Background(), "hub", 0, 1<<40)
	fmt.Println("acked", acked)
	for _, err := range []error{err, again, waited, <-ran, l.Close()} {
		fmt.Println(fault.KindOf(err), fault.Message(err))
	}
	return 3
}

func TestABrokenDiskEndsTheLogWithWords(t *testing.T) {
	dir := t.TempDir()
	cmd, out := child(t, "broken", dir)
	said, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("%v; it said\n%s", err, said)
	}
	var acked int
	if _, err := fmt.Sscanf(string(said), "acked %d", &acked); err != nil || acked < 20 {
		t.Fatalf("%d acknowledged (%v): %s", acked, err, said)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(said)), "\n")[1:] {
		if !strings.HasPrefix(line, "unavailable the event log in "+dir+" stopped because a write failed") || !strings.Contains(line, "input/output error") {
			t.Errorf("answer %d: %s", i, line)
		}
	}
	l := open(t, eventlog.Config{Dir: dir}, clock.System{})
	events, err := l.Read(t.Context(), "hub", 0, 0, acked+1)
	if err != nil || len(events) < acked {
		t.Fatalf("%d of %d acknowledged events found, %v", len(events), acked, err)
	}
	for i, ev := range events[:acked] {
		if !bytes.Equal(ev.Body, content(0, i)) {
			t.Fatalf("event %d is %q", i, ev.Body)
		}
	}
}

// childFull runs out of space for good and is then told to stop.
func childFull() int {
	var none atomic.Bool
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if none.Load() && op.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	told := make(chan string, 4)
	l, err := eventlog.Open(eventlog.Config{Dir: os.Getenv("EVENTLOG_TEST_DIR"), Partitions: 1, Reserve: 1, FS: fs, DiskCheck: time.Millisecond},
		slog.New(watch{told}), clock.System{}, nil)
	if err != nil {
		fmt.Println("open:", err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	if _, err := l.Append(ctx, "hub", "k", eventlog.Event{Body: content(0, 0)}); err != nil {
		fmt.Println("append:", err)
		return 1
	}
	none.Store(true)
	waiting := make(chan error, 1)
	l.AppendAsync("hub", "k", eventlog.Event{Body: content(0, 1)}, func(_ eventlog.Position, err error) { waiting <- err })
	<-told
	cancel()
	for _, err := range []error{<-waiting, <-ran} {
		fmt.Println(fault.KindOf(err), fault.Message(err))
	}
	return 3
}

func TestStoppingDoesNotWaitForSpace(t *testing.T) {
	dir := t.TempDir()
	cmd, out := child(t, "full", dir)
	said, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("%v; it said\n%s", err, said)
	}
	if n := strings.Count(string(said), "exhausted the disk holding "+dir); n != 2 {
		t.Errorf("it said\n%s", said)
	}
	l := open(t, eventlog.Config{Dir: dir}, clock.System{})
	if events, err := l.Read(t.Context(), "hub", 0, 0, 0); err != nil || len(events) < 1 || !bytes.Equal(events[0].Body, content(0, 0)) {
		t.Errorf("%d events, %v", len(events), err)
	}
}
