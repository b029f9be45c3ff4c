package eventlog_test

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

// pair is a log and its twin.
type pair struct {
	cfg eventlog.Config
	fs  *vfs.MemFS
	clk *clock.Fake
	l   *started
	w   *twin
}

func (x *pair) start(rt *rapid.T) {
	x.cfg.FS = x.fs
	l, err := eventlog.Open(x.cfg, quiet(), x.clk, nil)
	if err != nil {
		rt.Fatal(err)
	}
	x.l = start(l)
	for _, st := range x.w.streams {
		st.turn = 0
	}
}

var streamNames = rapid.SampledFrom([]string{"a", "b", "c"})

// pick is a partition, of a stream that is made when it is not there.
func (x *pair) pick(rt *rapid.T) (string, int, *twinPartition) {
	s := streamNames.Draw(rt, "stream")
	st := x.w.streams[s]
	if st == nil {
		if err := x.l.CreateStream(context.Background(), s, eventlog.StreamOptions{Partitions: 2, Hash: "lookup3"}); err != nil {
			rt.Fatal(err)
		}
		st = x.w.create(s, 2, eventlog.Lookup3)
	}
	i := rapid.IntRange(0, len(st.partitions)-1).Draw(rt, "partition")
	return s, i, st.partitions[i]
}

func drawEvents(rt *rapid.T, most int) []eventlog.Event {
	evs := make([]eventlog.Event, rapid.IntRange(1, most).Draw(rt, "events"))
	for i := range evs {
		evs[i].Body = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "body")
		evs[i].Format = rapid.Byte().Draw(rt, "format")
		if rapid.Bool().Draw(rt, "properties") {
			evs[i].Properties = map[string]string{"level": rapid.StringN(0, 5, 10).Draw(rt, "level")}
		}
	}
	return evs
}

func (x *pair) appendOne(rt *rapid.T) {
	s, key, evs := streamNames.Draw(rt, "stream"), rapid.SampledFrom([]string{"", "d1", "d2", "d3", "d4"}).Draw(rt, "key"), drawEvents(rt, 1)
	pos, err := x.l.Append(context.Background(), s, key, evs[0])
	i, seq, _ := x.w.append(s, -1, key, eventlog.Producer{}, evs)
	if err != nil || pos.Partition != i || pos.Sequence != seq {
		rt.Fatalf("append: %+v, %v, want %d/%d", pos, err, i, seq)
	}
}

func (x *pair) appendBatch(rt *rapid.T) {
	b := eventlog.Batch{
		Stream: streamNames.Draw(rt, "stream"), Partition: -1, Key: rapid.SampledFrom([]string{"", "d1", "d2"}).Draw(rt, "key"),
		Existing: rapid.Bool().Draw(rt, "existing"), Events: drawEvents(rt, 5),
	}
	st := x.w.streams[b.Stream]
	if st != nil && rapid.Bool().Draw(rt, "chosen") {
		b.Partition = rapid.IntRange(0, len(st.partitions)-1).Draw(rt, "partition")
	}
	if st == nil && b.Existing {
		if _, err := appendBatch(x.l, b); fault.KindOf(err) != fault.NotFound {
			rt.Fatalf("a batch for nothing: %v", err)
		}
		return
	}
	x.batch(rt, b)
}

// produce sends a few batches of producers, most of them as they should be.
func (x *pair) produce(rt *rapid.T) {
	s, i, p := x.pick(rt)
	if len(p.producers) == 0 {
		x.registerAs(rt, s, i, eventlog.Producer{})
	}
	for range rapid.IntRange(1, 4).Draw(rt, "batches") {
		b := eventlog.Batch{Stream: s, Partition: i, Events: drawEvents(rt, 3)}
		b.Producer.ID = rapid.Int64Range(1, x.w.streams[s].ids).Draw(rt, "id")
		if known := p.producers[b.Producer.ID]; known != nil {
			b.Producer.Epoch = known.epoch + rapid.SampledFrom([]int16{0, 0, 0, 0, -1, 1}).Draw(rt, "epoch")
			b.Producer.Sequence = max(0, int32(len(known.sent))+rapid.SampledFrom([]int32{0, 0, 0, 0, -1, -2, -4, 1}).Draw(rt, "sequence"))
			if rapid.IntRange(0, 4).Draw(rt, "again") == 0 {
				b.Producer.Sequence = known.batch
			}
		}
		x.batch(rt, b)
	}
}

func (x *pair) batch(rt *rapid.T, b eventlog.Batch) {
	pos, err := appendBatch(x.l, b)
	i, seq, want := x.w.append(b.Stream, b.Partition, b.Key, b.Producer, b.Events)
	if !sameError(err, want) || err == nil && (pos.Partition != i || pos.Sequence != seq) {
		rt.Fatalf("batch of %d by %+v: %+v, %v, want %d/%d, %v", len(b.Events), b.Producer, pos, err, i, seq, want)
	}
}

func (x *pair) register(rt *rapid.T) {
	s, i, _ := x.pick(rt)
	x.registerAs(rt, s, i, eventlog.Producer{ID: rapid.Int64Range(0, 3).Draw(rt, "id"), Epoch: rapid.Int16Range(0, 3).Draw(rt, "epoch")})
}

func (x *pair) registerAs(rt *rapid.T, s string, i int, known eventlog.Producer) {
	got, err := x.l.RegisterProducer(context.Background(), s, i, known)
	want, wantErr := x.w.register(s, i, known)
	if !sameError(err, wantErr) || err == nil && got != want {
		rt.Fatalf("register %+v: %+v, %v, want %+v, %v", known, got, err, want, wantErr)
	}
}

func (x *pair) read(rt *rapid.T) {
	s, i, p := x.pick(rt)
	from, limit := rapid.Int64Range(-1, 30).Draw(rt, "from"), rapid.IntRange(1, 10).Draw(rt, "limit")
	got, err := x.l.Read(context.Background(), s, i, from, limit)
	if err != nil {
		rt.Fatal(err)
	}
	want := p.read(from, limit)
	if len(got) != len(want) {
		rt.Fatalf("read %d of %d from %d: %d events, want %d", i, len(p.events), from, len(got), len(want))
	}
	for j, ev := range got {
		w := want[j]
		if ev.Sequence != max(from, p.first)+int64(j) || !bytes.Equal(ev.Body, w.Body) || ev.Format != w.Format || ev.PartitionKey != w.PartitionKey ||
			!ev.Enqueued.Equal(w.Enqueued) || !maps.Equal(ev.Properties, w.Properties) {
			rt.Fatalf("event %d: %+v, want %+v", j, ev, w)
		}
		if at, err := x.l.SeekOffset(s, i, ev.Offset); err != nil || at != ev.Sequence {
			rt.Fatalf("offset %d is event %d, %v, want %d", ev.Offset, at, err, ev.Sequence)
		}
	}
}

func (x *pair) check(rt *rapid.T) {
	if got, want := len(x.l.Streams()), len(x.w.streams); got != want {
		rt.Fatalf("%d streams, want %d", got, want)
	}
	for s, st := range x.w.streams {
		for i, p := range st.partitions {
			if first, next := x.l.Bounds(s, i); first != p.first || next != int64(len(p.events)) {
				rt.Fatalf("%s/%d: bounds %d, %d, want %d, %d", s, i, first, next, p.first, len(p.events))
			}
		}
	}
}

func TestLogBehavesAsItsTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
		x := &pair{cfg: eventlog.Config{Dir: "log", Partitions: 3, Reserve: 1}, fs: vfs.NewCrashableMem(), clk: clk, w: newTwin(clk.Now())}
		x.start(rt)
		defer func() {
			if err := x.l.stop(); err != nil {
				rt.Fatal(err)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"append":   x.appendOne,
			"batch":    x.appendBatch,
			"produce":  x.produce,
			"register": x.register,
			"read":     x.read,
			"trim": func(rt *rapid.T) {
				s, i, p := x.pick(rt)
				before := rapid.Int64Range(-1, int64(len(p.events))+2).Draw(rt, "before")
				if err := x.l.Trim(s, i, before); err != nil {
					rt.Fatal(err)
				}
				p.trim(before)
			},
			"retain": func(rt *rapid.T) {
				s, i, p := x.pick(rt)
				keep := time.Duration(rapid.IntRange(1, 9).Draw(rt, "keep")) * time.Second
				if err := x.l.TrimTo(s, i, eventlog.Retention{Age: keep}); err != nil {
					rt.Fatal(err)
				}
				p.retain(x.w.now.Add(-keep))
			},
			"delete": func(rt *rapid.T) {
				s := streamNames.Draw(rt, "stream")
				err := x.l.DeleteStream(context.Background(), s)
				if there := x.w.streams[s] != nil; there != (err == nil) || !there && fault.KindOf(err) != fault.NotFound {
					rt.Fatalf("delete %s: %v", s, err)
				}
				delete(x.w.streams, s)
			},
			"time passes": func(*rapid.T) { x.clk.Advance(time.Second); x.w.now = x.clk.Now() },
			"restart": func(rt *rapid.T) {
				if err := x.l.stop(); err != nil {
					rt.Fatal(err)
				}
				x.start(rt)
			},
			"power cut": func(rt *rapid.T) { // a part of what was not fsynced is there all the same
				seed := rapid.Uint64().Draw(rt, "seed")
				x.fs = x.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(rt, "kept"), RNG: rand.New(rand.NewPCG(seed, 1))})
				if err := x.l.stop(); err != nil {
					rt.Fatal(err)
				}
				x.start(rt)
			},
			"": x.check,
		})
	})
}
