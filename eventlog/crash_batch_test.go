package eventlog_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

const crashProducers = 12

// crashState is what a client of the child knows from the answers it got.
type crashState struct {
	Producers [crashProducers]eventlog.Producer
	Batches   [crashProducers]int // answered
	Deleted   int                 // streams temp-0 to temp-(n-1) were deleted
	Trimmed   int64               // before this number in the stream trimmed
}

// crashBatch is the k-th batch of producer w: it never changes, however often it is sent.
func crashBatch(w, k int) (sequence int32, evs []eventlog.Event) {
	size := func(k int) int { return 1 + (w*7+k*k)%40 }
	for j := range k {
		sequence += int32(size(j))
	}
	for i := range size(k) {
		evs = append(evs, eventlog.Event{Body: content(w, int(sequence)+i), Format: uint8(w)})
	}
	return sequence, evs
}

// childProducers sends the batches of all producers, each one after the answer to the one before, makes and deletes streams, and trims,
// telling each answer, until it is killed.
func childProducers() int {
	var state crashState
	if err := json.Unmarshal([]byte(os.Getenv("EVENTLOG_TEST_STATE")), &state); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := eventlog.Open(eventlog.Config{Dir: os.Getenv("EVENTLOG_TEST_DIR"), Reserve: 1}, quiet(), clock.System{}, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx := context.Background()
	go func() { _ = l.Run(ctx) }()
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	if err := l.CreateStream(ctx, "eh", eventlog.StreamOptions{Partitions: 2}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var wg sync.WaitGroup
	failed := func(err error) bool {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return err != nil
	}
	for w := range crashProducers {
		wg.Go(func() {
			p, err := l.RegisterProducer(ctx, "eh", w%2, state.Producers[w])
			if failed(err) {
				return
			}
			say("producer %d %d %d", w, p.ID, p.Epoch)
			for k := state.Batches[w]; ; k++ {
				b := eventlog.Batch{Stream: "eh", Partition: w % 2, Producer: p}
				b.Producer.Sequence, b.Events = crashBatch(w, k)
				if _, err := appendBatch(l, b); failed(err) {
					return
				}
				say("batch %d %d", w, k)
			}
		})
	}
	wg.Go(func() {
		for i := state.Deleted; ; i++ {
			name := fmt.Sprint("temp-", i)
			_, err := appendBatch(l, eventlog.Batch{Stream: name, Partition: -1, Key: "k", Events: bodies(0, 30)})
			if failed(err) || failed(l.DeleteStream(ctx, name)) {
				return
			}
			say("deleted %d", i)
		}
	})
	wg.Go(func() {
		for {
			pos, err := appendBatch(l, eventlog.Batch{Stream: "trimmed", Partition: -1, Key: "k", Events: bodies(0, 10)})
			if failed(err) || failed(l.Trim("trimmed", pos.Partition, pos.Sequence+5)) {
				return
			}
			say("trimmed %d", pos.Sequence+5)
		}
	})
	wg.Wait()
	return 1
}

func TestKillLosesAndDoublesNothingOfProducers(t *testing.T) {
	dir := t.TempDir()
	var state crashState
	for round := range 3 {
		text, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("EVENTLOG_TEST_STATE", string(text))
		cmd, out := child(t, "producers", dir)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			state.heard(t, lines.Text())
			if n == 400+300*round {
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
	var found [crashProducers]int32
	for i := range 2 {
		err := l.Scan(t.Context(), "eh", i, 0, 0, func(v *eventlog.View) bool {
			w := int(v.Format)
			if !bytes.Equal(v.Body, content(w, int(found[w]))) {
				t.Fatalf("event %d of producer %d is %q", found[w], w, v.Body)
			}
			found[w]++
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	total := int32(0)
	for w, n := range found {
		k := state.Batches[w]
		acked, _ := crashBatch(w, k)
		whole, _ := crashBatch(w, k+1)
		if n != acked && n != whole {
			t.Errorf("producer %d: %d events found, %d answered, and the next batch ends at %d", w, n, acked, whole)
		}
		p, err := l.RegisterProducer(t.Context(), "eh", w%2, state.Producers[w])
		if err != nil || p.Sequence != n-1 {
			t.Errorf("producer %d: %+v, %v, with %d events", w, p, err, n)
		}
		total += n
	}
	for _, name := range l.Streams() {
		var i int
		if !strings.HasPrefix(name, "temp-") {
			continue
		}
		if _, err := fmt.Sscanf(name, "temp-%d", &i); err != nil || i < state.Deleted {
			t.Errorf("%s is there though it was deleted", name)
		}
	}
	first, next := l.Bounds("trimmed", int(eventlog.FNV("k")%4))
	events, err := l.Read(t.Context(), "trimmed", int(eventlog.FNV("k")%4), 0, 0)
	if err != nil && fault.KindOf(err) != fault.NotFound || first < state.Trimmed || int64(len(events)) != next-first || next%10 != 0 {
		t.Errorf("trimmed before %d: %d to %d, %d events, %v", state.Trimmed, first, next, len(events), err)
	}
	t.Logf("%d events of producers, %d streams deleted, trimmed before %d", total, state.Deleted, state.Trimmed)
}

func (s *crashState) heard(t *testing.T, line string) {
	t.Helper()
	var w, n int
	var p eventlog.Producer
	var err error
	switch what, rest, _ := strings.Cut(line, " "); what {
	case "producer":
		_, err = fmt.Sscan(rest, &w, &p.ID, &p.Epoch)
		s.Producers[w] = p
	case "batch":
		_, err = fmt.Sscan(rest, &w, &n)
		s.Batches[w] = n + 1
	case "deleted":
		_, err = fmt.Sscan(rest, &n)
		s.Deleted = n + 1
	case "trimmed":
		_, err = fmt.Sscan(rest, &s.Trimmed)
	}
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
}
