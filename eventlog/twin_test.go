package eventlog_test

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
)

// twin is the log as one would write it without a disk: slow, obvious, and right.
type twin struct {
	now     time.Time
	streams map[string]*twinStream
}

type twinStream struct {
	hash       eventlog.Hash
	partitions []*twinPartition
	turn       int
	ids        int64
}

type twinPartition struct {
	events    []eventlog.Event // all there ever were, by sequence number
	first     int64
	producers map[int64]*twinProducer
}

type twinProducer struct {
	epoch int16
	sent  map[int32]int64 // number -> where it was stored
	batch int32           // first number of the last batch
}

func newTwin(now time.Time) *twin { return &twin{now: now, streams: map[string]*twinStream{}} }

func (w *twin) create(name string, partitions int, hash eventlog.Hash) *twinStream {
	st := &twinStream{hash: hash}
	for range partitions {
		st.partitions = append(st.partitions, &twinPartition{producers: map[int64]*twinProducer{}})
	}
	w.streams[name] = st
	return st
}

// append is what becomes of a batch: where its first event is, -1 when that is not known, or which error.
func (w *twin) append(name string, partition int, key string, p eventlog.Producer, evs []eventlog.Event) (int, int64, error) {
	st := w.streams[name]
	if st == nil {
		st = w.create(name, 3, eventlog.FNV)
	}
	switch {
	case partition >= 0:
	case key != "":
		partition = int(st.hash(key)) % len(st.partitions)
	default:
		partition = st.turn % len(st.partitions)
		st.turn++
	}
	in := st.partitions[partition]
	first := int64(len(in.events))
	if p.ID != 0 {
		known := in.producers[p.ID]
		at, err := known.admit(p, len(evs))
		if err != nil || at != nil {
			if err == nil {
				return partition, *at, nil
			}
			return partition, 0, err
		}
		known.batch = p.Sequence
		for i := range evs {
			known.sent[p.Sequence+int32(i)] = first + int64(i)
		}
	}
	for _, ev := range evs {
		ev.PartitionKey, ev.Partition, ev.Enqueued = key, partition, w.now
		in.events = append(in.events, ev)
	}
	return partition, first, nil
}

func (p *twinProducer) admit(sent eventlog.Producer, n int) (stored *int64, err error) {
	switch {
	case p == nil || sent.Epoch > p.epoch:
		return nil, eventlog.ErrUnknownProducer
	case sent.Epoch < p.epoch:
		return nil, eventlog.ErrProducerFenced
	}
	known := 0
	for i := range n {
		if _, ok := p.sent[sent.Sequence+int32(i)]; ok {
			known++
		}
	}
	_, before := p.sent[sent.Sequence-1]
	switch at, nowhere := p.sent[sent.Sequence], int64(-1); {
	case known == n && sent.Sequence == p.batch:
		return &at, nil
	case known == n:
		return &nowhere, nil
	case known == 0 && (before || sent.Sequence == 0):
		return nil, nil
	}
	return nil, eventlog.ErrOutOfOrder
}

func (w *twin) register(name string, partition int, known eventlog.Producer) (eventlog.Producer, error) {
	st := w.streams[name]
	in := st.partitions[partition]
	p := in.producers[known.ID]
	switch {
	case known.ID == 0:
		st.ids++
		known.ID = st.ids
		p = &twinProducer{epoch: max(known.Epoch, 1), sent: map[int32]int64{}}
		in.producers[known.ID] = p
	case p == nil:
		return known, eventlog.ErrUnknownProducer
	case known.Epoch == 0:
		p.epoch++
	case known.Epoch < p.epoch:
		return known, eventlog.ErrProducerFenced
	default:
		p.epoch = known.Epoch
	}
	return eventlog.Producer{ID: known.ID, Epoch: p.epoch, Sequence: int32(len(p.sent)) - 1}, nil
}

func (p *twinPartition) trim(before int64) {
	p.first = max(p.first, min(before, int64(len(p.events))))
}

// retain trims what is too old.
func (p *twinPartition) retain(oldest time.Time) {
	for p.first < int64(len(p.events)) && p.events[p.first].Enqueued.Before(oldest) {
		p.first++
	}
}

// read is what a reader must see.
func (p *twinPartition) read(from int64, limit int) []eventlog.Event {
	lo := min(max(from, p.first), int64(len(p.events)))
	return p.events[lo:min(lo+int64(limit), int64(len(p.events)))]
}

// sameError tells whether err is the fault that was to be expected.
func sameError(err, want error) bool { return (err == nil) == (want == nil) && errors.Is(err, want) }

// started is a log whose Run is under way, for tests that stop it in more than one way.
type started struct {
	*eventlog.Log
	cancel context.CancelFunc
	ran    chan error
}

func start(l *eventlog.Log) *started {
	ctx, cancel := context.WithCancel(context.Background())
	s := &started{Log: l, cancel: cancel, ran: make(chan error, 1)}
	go func() { s.ran <- l.Run(ctx) }()
	return s
}

func (s *started) stop() error {
	s.cancel()
	return errors.Join(<-s.ran, s.Close())
}
