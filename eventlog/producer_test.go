package eventlog_test

import (
	"errors"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

func register(t testing.TB, l *opened, partition int, known eventlog.Producer) eventlog.Producer {
	t.Helper()
	p, err := l.RegisterProducer(t.Context(), "hub", partition, known)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func produce(l *opened, partition int, p eventlog.Producer, sequence int32, n int) (eventlog.Position, error) {
	p.Sequence = sequence
	return appendBatch(l, eventlog.Batch{Stream: "hub", Partition: partition, Events: bodies(int(sequence), n), Producer: p})
}

func TestAProducersBatchIsStoredOnce(t *testing.T) {
	cfg := eventlog.Config{Dir: "log", FS: vfs.NewMem(), Partitions: 2}
	l := open(t, cfg, clock.System{})
	if err := l.Create(t.Context(), "hub", 0); err != nil {
		t.Fatal(err)
	}
	p, q := register(t, l, 0, eventlog.Producer{}), register(t, l, 0, eventlog.Producer{})
	if p != (eventlog.Producer{ID: 1, Epoch: 1, Sequence: -1}) || q.ID != 2 {
		t.Fatalf("%+v, %+v", p, q)
	}
	if other := register(t, l, 1, eventlog.Producer{}); other.ID != 3 {
		t.Errorf("another partition's producer: %+v", other)
	}
	next := int64(0)
	for i, step := range []struct {
		p        eventlog.Producer
		sequence int32
		n        int
		stored   int64 // where, -1: nowhere
		known    int64 // where it says the first one stands
		err      error
	}{
		{p, 1, 1, -1, 0, eventlog.ErrOutOfOrder}, // the first is 0
		{p, 0, 3, 0, 0, nil},
		{p, 0, 3, -1, 0, nil}, // sent again
		{p, 1, 2, -1, -1, nil},
		{q, 0, 2, 3, 3, nil},
		{p, 3, 2, 5, 5, nil},
		{p, 3, 2, -1, 5, nil},
		{p, 0, 3, -1, -1, nil},                   // older than the last
		{p, 4, 2, -1, 0, eventlog.ErrOutOfOrder}, // a part of it is stored
		{p, 6, 1, -1, 0, eventlog.ErrOutOfOrder}, // a gap
		{p, 5, 1, 7, 7, nil},
		{eventlog.Producer{ID: 3, Epoch: 1}, 0, 1, -1, 0, eventlog.ErrUnknownProducer}, // of partition 1
		{eventlog.Producer{ID: 1, Epoch: 2}, 6, 1, -1, 0, eventlog.ErrUnknownProducer}, // an epoch of which nobody knows
	} {
		if i == 7 { // what is known survives
			l.end(t)
			l = open(t, cfg, clock.System{})
		}
		pos, err := produce(l, 0, step.p, step.sequence, step.n)
		if !errors.Is(err, step.err) || step.err != nil && fault.KindOf(err) == fault.Internal || err == nil && pos.Sequence != step.known {
			t.Fatalf("step %d: %+v, %v", i, pos, err)
		}
		if step.stored >= 0 {
			next = step.stored + int64(step.n)
		}
		if _, end := l.Bounds("hub", 0); end != next {
			t.Fatalf("step %d: the end is %d, want %d", i, end, next)
		}
	}
	if again := register(t, l, 0, eventlog.Producer{ID: 1, Epoch: 1}); again != (eventlog.Producer{ID: 1, Epoch: 1, Sequence: 5}) {
		t.Errorf("who comes back is %+v", again)
	}
}

func TestANewerEpochFencesOlderOnes(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 1}, clock.System{})
	if err := l.Create(t.Context(), "hub", 0); err != nil {
		t.Fatal(err)
	}
	old := register(t, l, 0, eventlog.Producer{})
	if _, err := produce(l, 0, old, 0, 4); err != nil {
		t.Fatal(err)
	}
	newer := register(t, l, 0, eventlog.Producer{ID: old.ID})
	if newer != (eventlog.Producer{ID: old.ID, Epoch: 2, Sequence: 3}) {
		t.Fatalf("%+v", newer)
	}
	if _, err := produce(l, 0, old, 4, 1); !errors.Is(err, eventlog.ErrProducerFenced) || fault.KindOf(err) != fault.Conflict {
		t.Errorf("the old one: %v", err)
	}
	if _, err := produce(l, 0, newer, 4, 1); err != nil {
		t.Errorf("the newer one: %v", err)
	}
	if chosen := register(t, l, 0, eventlog.Producer{ID: old.ID, Epoch: 9}); chosen.Epoch != 9 {
		t.Errorf("%+v", chosen)
	}
	if _, err := l.RegisterProducer(t.Context(), "hub", 0, newer); !errors.Is(err, eventlog.ErrProducerFenced) {
		t.Errorf("who comes back too late: %v", err)
	}
	register(t, l, 0, eventlog.Producer{ID: old.ID, Epoch: math.MaxInt16})
	for name, c := range map[string]struct {
		p    eventlog.Producer
		kind fault.Kind
	}{
		"no epoch left":  {eventlog.Producer{ID: old.ID}, fault.Exhausted},
		"unknown":        {eventlog.Producer{ID: 77}, fault.NotFound},
		"negative id":    {eventlog.Producer{ID: -1}, fault.Invalid},
		"negative epoch": {eventlog.Producer{ID: 1, Epoch: -1}, fault.Invalid},
	} {
		if _, err := l.RegisterProducer(t.Context(), "hub", 0, c.p); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.RegisterProducer(t.Context(), "hub", 1, eventlog.Producer{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no such partition: %v", err)
	}
	if _, err := produce(l, 0, eventlog.Producer{ID: 1, Epoch: 1}, -1, 1); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a negative number: %v", err)
	}
}

func TestTheProducerUsedLeastIsForgotten(t *testing.T) {
	cfg := eventlog.Config{Dir: "log", FS: vfs.NewMem(), Partitions: 1}
	l := open(t, cfg, clock.System{})
	if err := l.Create(t.Context(), "hub", 0); err != nil {
		t.Fatal(err)
	}
	first, second := register(t, l, 0, eventlog.Producer{}), register(t, l, 0, eventlog.Producer{})
	if _, err := produce(l, 0, first, 0, 1); err != nil {
		t.Fatal(err)
	}
	for range eventlog.MaxProducers - 1 {
		register(t, l, 0, eventlog.Producer{})
	}
	if _, err := produce(l, 0, second, 0, 1); !errors.Is(err, eventlog.ErrUnknownProducer) {
		t.Errorf("the second one was idle for longest: %v", err)
	}
	if _, err := produce(l, 0, first, 1, 1); err != nil {
		t.Errorf("the first one was not: %v", err)
	}
	l.end(t)
	l = open(t, cfg, clock.System{})
	for range 10 { // that they are new must count after a restart
		register(t, l, 0, eventlog.Producer{})
	}
	last := register(t, l, 0, eventlog.Producer{})
	for range eventlog.MaxProducers - 12 {
		register(t, l, 0, eventlog.Producer{})
	}
	if _, err := produce(l, 0, first, 2, 1); err != nil {
		t.Errorf("the first one was used last before the restart: %v", err)
	}
	if _, err := produce(l, 0, last, 0, 1); err != nil {
		t.Errorf("the last one is younger: %v", err)
	}
}
