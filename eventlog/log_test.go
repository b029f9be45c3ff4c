package eventlog_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

func TestMain(m *testing.M) {
	if child := os.Getenv("EVENTLOG_TEST_CHILD"); child != "" {
		os.Exit(children[child]())
	}
	goleak.VerifyTestMain(m)
}

// children are what this binary does when a test starts it again.
var children = map[string]func() int{"writer": childWriter, "broken": childBroken, "full": childFull, "producers": childProducers}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// opened is a log whose Run is under way; end stops and closes it.
type opened struct {
	*eventlog.Log
	cancel context.CancelFunc
	ran    chan error
	once   sync.Once
}

func open(t testing.TB, cfg eventlog.Config, clk clock.Clock) *opened {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = 1
	}
	return run(t, cfg, clk)
}

func run(t testing.TB, cfg eventlog.Config, clk clock.Clock) *opened {
	t.Helper()
	return runLogging(t, cfg, clk, quiet())
}

func runLogging(t testing.TB, cfg eventlog.Config, clk clock.Clock, log *slog.Logger) *opened {
	t.Helper()
	l, err := eventlog.Open(cfg, log, clk, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &opened{Log: l, cancel: cancel, ran: make(chan error, 1)}
	go func() { o.ran <- l.Run(ctx) }()
	t.Cleanup(func() { o.end(t) })
	return o
}

func (o *opened) end(t testing.TB) {
	t.Helper()
	o.once.Do(func() {
		o.cancel()
		if err := <-o.ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := o.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func mustAppend(t testing.TB, l *opened, stream, key string, ev eventlog.Event) eventlog.Position {
	t.Helper()
	pos, err := l.Append(t.Context(), stream, key, ev)
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

func body(i int) eventlog.Event { return eventlog.Event{Body: []byte(strconv.Itoa(i))} }

func TestAnEventComesBackAsItWasSent(t *testing.T) {
	l := open(t, eventlog.Config{}, clock.System{})
	sent := eventlog.Event{
		Body:       []byte("21.5 °C\x00\xff"),
		Properties: map[string]string{"level": "high", "": "empty name", "empty": ""},
		System:     map[string]string{"message-id": "m-1", "iothub-connection-device-id": "press-4"},
	}
	pos := mustAppend(t, l, "contoso", "press-4", sent)
	got, err := l.Read(t.Context(), "contoso", pos.Partition, pos.Sequence, 10)
	if err != nil || len(got) != 1 {
		t.Fatalf("Read = %d events, %v", len(got), err)
	}
	want := sent
	want.PartitionKey, want.Partition, want.Sequence, want.Offset, want.Enqueued = "press-4", pos.Partition, pos.Sequence, pos.Offset, pos.Enqueued
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("\n got %+v\nwant %+v", got[0], want)
	}
	if pos.Enqueued.IsZero() || time.Since(pos.Enqueued) > time.Minute {
		t.Errorf("enqueued %v", pos.Enqueued)
	}
}

func TestKeysStayTogetherAndSequencesHaveNoGaps(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 3}, clock.System{})
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			key := "device-" + strconv.Itoa(w)
			for i := range each {
				pos, err := l.Append(t.Context(), "hub", key, body(i))
				if want := int(eventlog.FNV(key) % 3); err != nil || pos.Partition != want {
					t.Errorf("%s went to %d, want %d: %v", key, pos.Partition, want, err)
					return
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for p := range l.Partitions("hub") {
		offset, enqueued := int64(-1), time.Time{}
		_, next := l.Bounds("hub", p)
		for from := int64(0); from < next; {
			events, err := l.Read(t.Context(), "hub", p, from, 7)
			if err != nil || len(events) == 0 {
				t.Fatalf("partition %d from %d of %d: %d events, %v", p, from, next, len(events), err)
			}
			for _, ev := range events {
				if ev.Sequence != from || ev.Offset <= offset || ev.Enqueued.Before(enqueued) {
					t.Fatalf("event %+v after sequence %d, offset %d, time %v", ev, from-1, offset, enqueued)
				}
				if string(ev.Body) != strconv.Itoa(seen[ev.PartitionKey]) {
					t.Fatalf("%s: body %q out of order, want %d", ev.PartitionKey, ev.Body, seen[ev.PartitionKey])
				}
				seen[ev.PartitionKey]++
				from, offset, enqueued = from+1, ev.Offset, ev.Enqueued
			}
		}
	}
	for w := range writers {
		if n := seen["device-"+strconv.Itoa(w)]; n != each {
			t.Errorf("device-%d: %d events of %d", w, n, each)
		}
	}
}

func TestCallbacksKeepTheOrderOfAppends(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 1, QueueBytes: 4096}, clock.System{})
	const n = 500
	last := make(chan struct{})
	next := 0
	scratch := make([]byte, 8)
	for i := range n {
		scratch = strconv.AppendInt(scratch[:0], int64(i), 10) // the log must not keep the caller's bytes
		l.AppendAsync("hub", "k", eventlog.Event{Body: scratch}, func(pos eventlog.Position, err error) {
			if err != nil || pos.Sequence != int64(next) {
				t.Errorf("callback %d: sequence %d, %v", next, pos.Sequence, err)
			}
			if next++; next == n {
				close(last)
			}
		})
	}
	<-last
	events, err := l.Read(t.Context(), "hub", 0, 0, n)
	if err != nil || len(events) != n {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for i, ev := range events {
		if string(ev.Body) != strconv.Itoa(i) {
			t.Fatalf("event %d is %q", i, ev.Body)
		}
	}
}

func TestEventsWithoutKeyGoRound(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 4}, clock.System{})
	for i := range 8 {
		if pos := mustAppend(t, l, "hub", "", body(i)); pos.Partition != i%4 || pos.Sequence != int64(i/4) {
			t.Errorf("event %d: %+v", i, pos)
		}
	}
	pos, err := l.AppendTo(t.Context(), "hub", 2, "kept", body(8))
	if err != nil || pos.Partition != 2 || pos.Sequence != 2 {
		t.Errorf("AppendTo: %+v, %v", pos, err)
	}
	if _, err := l.AppendTo(t.Context(), "hub", 4, "", body(9)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("partition 4 of 4: %v", err)
	}
}

func TestWaitHearsNewsAndTheEnd(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 1}, clock.System{})
	mustAppend(t, l, "hub", "k", body(0))
	if err := l.Wait(t.Context(), "hub", 0, 0); err != nil {
		t.Errorf("what is there already: %v", err)
	}
	const readers = 20
	heard := make(chan error, readers)
	for range readers {
		go func() { heard <- l.Wait(context.Background(), "hub", 0, 1) }()
	}
	mustAppend(t, l, "hub", "k", body(1))
	for range readers {
		if err := <-heard; err != nil {
			t.Errorf("Wait: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ctx, "hub", 0, 2); fault.KindOf(err) != fault.Timeout {
		t.Errorf("a wait given up: %v", err)
	}
	go func() { heard <- l.Wait(context.Background(), "hub", 0, 2) }()
	l.end(t)
	if err := <-heard; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a wait while the log stops: %v", err)
	}
}

func TestReopeningChangesNothing(t *testing.T) {
	dir := t.TempDir()
	var want []eventlog.Event
	for round := range 3 {
		l := open(t, eventlog.Config{Dir: dir, Partitions: 1}, clock.System{})
		for i := range 10 {
			mustAppend(t, l, "hub", "k", body(10*round+i))
		}
		if round == 1 {
			if err := l.Trim("hub", 0, 20); err != nil { // all there is
				t.Fatal(err)
			}
		}
		events, err := l.Read(t.Context(), "hub", 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		want = events
		l.end(t)
	}
	l := open(t, eventlog.Config{Dir: dir, Partitions: 7}, clock.System{})
	got, err := l.Read(t.Context(), "hub", 0, 0, 0)
	if err != nil || !reflect.DeepEqual(got, want) || len(got) != 10 || got[0].Sequence != 20 {
		t.Errorf("%d events from %+v, %v", len(got), got[:1], err)
	}
	if n := l.Partitions("hub"); n != 1 {
		t.Errorf("the stream has %d partitions now", n)
	}
	if pos := mustAppend(t, l, "hub", "k", body(30)); pos.Sequence != 30 || pos.Offset <= got[9].Offset {
		t.Errorf("next event at %+v", pos)
	}
	if first, next := l.Bounds("hub", 0); first != 20 || next != 31 {
		t.Errorf("bounds %d, %d", first, next)
	}
}

func TestBadInputIsRefusedWithWords(t *testing.T) {
	dir := t.TempDir()
	l := open(t, eventlog.Config{Dir: dir, MaxEventBytes: 1000}, clock.System{})
	mustAppend(t, l, "hub", "k", body(0))
	append1 := func(stream, key string, ev eventlog.Event) error {
		_, err := l.Append(t.Context(), stream, key, ev)
		return err
	}
	_, second := eventlog.Open(eventlog.Config{Dir: dir}, quiet(), clock.System{}, nil)
	_, nowhere := eventlog.Open(eventlog.Config{}, quiet(), clock.System{}, nil)
	_, read := l.Read(t.Context(), "other", 0, 0, 1)
	_, partition := l.Read(t.Context(), "hub", 4, 0, 1)
	for name, c := range map[string]struct {
		err  error
		kind fault.Kind
		say  string
	}{
		"too large":       {append1("hub", "k", eventlog.Event{Body: make([]byte, 1001)}), fault.TooLarge, "at most 1000 bytes"},
		"no name":         {append1("", "k", eventlog.Event{}), fault.Invalid, "name of a stream"},
		"long key":        {append1("hub", strings.Repeat("k", 300), eventlog.Event{}), fault.Invalid, "partition key"},
		"two openers":     {second, fault.Conflict, "in use by another process"},
		"no directory":    {nowhere, fault.Invalid, "no directory"},
		"unknown stream":  {read, fault.NotFound, `no stream "other"`},
		"no partition":    {partition, fault.NotFound, "partitions 0 to 3"},
		"other count":     {l.Create(t.Context(), "hub", 8), fault.Conflict, "has 4 partitions"},
		"same count":      {l.Create(t.Context(), "hub", 4), fault.Internal, ""},
		"negative count":  {l.Create(t.Context(), "new", -1), fault.Invalid, "1 to 1024"},
		"run twice":       {l.Run(t.Context()), fault.Conflict, "running already"},
		"trim of nothing": {l.Trim("other", 0, 1), fault.NotFound, "no stream"},
	} {
		if (c.say == "") != (c.err == nil) || fault.KindOf(c.err) != c.kind || !strings.Contains(fault.Message(c.err), c.say) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	l.end(t)
	if err := append1("hub", "k", body(1)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("append after the end: %v", err)
	}
	if _, err := l.Read(t.Context(), "hub", 0, 0, 1); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("read after the end: %v", err)
	}
}

func TestAppendsThatWaitAreAnsweredWhenTheLogIsNeverRun(t *testing.T) {
	l, err := eventlog.Open(eventlog.Config{Dir: t.TempDir(), QueueBytes: 1}, quiet(), clock.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan error, 1)
	l.AppendAsync("hub", "k", body(0), func(_ eventlog.Position, err error) { answers <- err })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, "hub", "k", body(1)); fault.KindOf(err) != fault.Timeout || !errors.Is(err, context.Canceled) {
		t.Errorf("a full queue: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answers; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the waiting append: %v", err)
	}
}

func TestTimeNeverGoesBackAndCanBeSought(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	l := open(t, eventlog.Config{Partitions: 1}, clk)
	start := clk.Now()
	for i, step := range []time.Duration{0, time.Second, -time.Hour, time.Hour, 2 * time.Second} {
		clk.Advance(step)
		mustAppend(t, l, "hub", "k", body(i))
	}
	events, err := l.Read(t.Context(), "hub", 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Duration{0, time.Second, time.Second, time.Second, 3 * time.Second} {
		if got := events[i].Enqueued.Sub(start); got != want {
			t.Errorf("event %d was enqueued at %v, want %v", i, got, want)
		}
	}
	for at, want := range map[time.Duration]int64{-time.Minute: 0, 0: 0, 1: 0, time.Millisecond: 1, time.Second: 1, 2 * time.Second: 4, time.Hour: 5} {
		if got, err := l.SeekTime("hub", 0, start.Add(at)); err != nil || got != want {
			t.Errorf("SeekTime(%v) = %d, %v, want %d", at, got, err, want)
		}
	}
	info, err := l.Info("hub", 0)
	if err != nil || info.LastOffset != events[4].Offset || !info.LastEnqueued.Equal(events[4].Enqueued) {
		t.Errorf("Info = %+v, %v", info, err)
	}
}

func TestRetentionTrimsByAgeAndSize(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	l := open(t, eventlog.Config{Partitions: 1}, clk)
	for range 10 {
		mustAppend(t, l, "hub", "k", eventlog.Event{Body: make([]byte, 100)})
		clk.Advance(time.Minute)
	}
	events, err := l.Read(t.Context(), "hub", 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	each := events[1].Offset
	for _, c := range []struct {
		keep eventlog.Retention
		want int64
	}{
		{eventlog.Retention{}, 0},
		{eventlog.Retention{Age: time.Hour}, 0},
		{eventlog.Retention{Age: 8 * time.Minute}, 2},
		{eventlog.Retention{Bytes: 5 * each}, 5},
		{eventlog.Retention{Bytes: 5*each - 1}, 6},
		{eventlog.Retention{Age: time.Hour, Bytes: 3 * each}, 7},
		{eventlog.Retention{Age: time.Millisecond}, 10},
	} {
		if err := l.TrimTo("hub", 0, c.keep); err != nil {
			t.Fatal(err)
		}
		if first, next := l.Bounds("hub", 0); first != c.want || next != 10 {
			t.Errorf("%+v: bounds %d, %d, want first %d", c.keep, first, next, c.want)
		}
		got, err := l.Read(t.Context(), "hub", 0, 0, 0)
		if err != nil || int64(len(got)) != 10-c.want {
			t.Errorf("%+v: %d events, %v", c.keep, len(got), err)
		}
	}
}

func TestRunTrimsByItself(t *testing.T) {
	// The clock stands at first, so that retention's first timer is certain to be made before it moves.
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	l := open(t, eventlog.Config{Partitions: 1, Retention: eventlog.Retention{Age: time.Hour}, RetentionEvery: time.Minute}, clk)
	mustAppend(t, l, "hub", "k", body(0))
	for first := int64(0); first == 0; first, _ = l.Bounds("hub", 0) {
		clk.Advance(2 * time.Hour)
		if t.Context().Err() != nil {
			t.Fatal("nothing was trimmed")
		}
	}
}
