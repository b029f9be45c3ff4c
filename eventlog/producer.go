package eventlog

import (
	"bytes"
	"context"
	"errors"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/isthmus-io/isthmus/fault"
)

// What a producer did wrong, for errors.Is; the fault around it has the words.
var (
	ErrOutOfOrder      = errors.New("sequence is not the one after the producer's last")       // Conflict
	ErrProducerFenced  = errors.New("a newer epoch of the producer has taken over")            // Conflict
	ErrUnknownProducer = errors.New("no such producer in this partition, or it was forgotten") // NotFound
)

// MaxProducers is how many producers a partition remembers; a new one takes the place of the one that did nothing for longest.
const MaxProducers = 1000

// Producer is one sender whose batches are stored once however often it sends them. Its events in a partition are numbered one after
// the other; after 2147483647 comes 0.
type Producer struct {
	ID       int64 // 1 and up, unique in its stream; 0: none
	Epoch    int16 // 1 and up
	Sequence int32 // in a Batch: of its first event. From RegisterProducer: of the last event stored, -1 when there is none
}

// RegisterProducer makes a producer in a partition when known.ID is 0, and takes over a known one otherwise: its epoch becomes
// known.Epoch, or one more than it was when that is 0, and whoever still sends with an older one gets ErrProducerFenced. The answer is
// durable.
//
// Sequence of the answer is that of the last event stored, whatever known.Sequence says. A client which comes back and names its own
// last number counts on from there with what it has to send again; a door has to let it have its own number, and this log tells what
// is stored already.
//
// A partition remembers the MaxProducers last used. Errors: ErrUnknownProducer, ErrProducerFenced (known.Epoch is older than the
// stored one), NotFound when there is no such stream or partition, Exhausted (the disk is full).
func (l *Log) RegisterProducer(ctx context.Context, stream string, partition int, known Producer) (Producer, error) {
	const op = "eventlog.RegisterProducer"
	if known.ID < 0 || known.Epoch < 0 {
		return Producer{}, fault.New(op, fault.Invalid, "the id and the epoch of a producer are not negative")
	}
	if _, _, err := l.find(op, stream, partition); err != nil {
		return Producer{}, err
	}
	if l.stuck.Load() {
		return Producer{}, l.noSpace()
	}
	r := getRequest(registerProducer, stream)
	r.partition, r.producer = partition, known
	a, err := l.do(ctx, op, r)
	return a.producer, err
}

// producer is what the committer knows of one; as stored:
//
//	epoch i16, last i32, batch i32; sequence, offset, enqueued ms of the last batch's first event i64; used i64
type producer struct {
	epoch int16
	last  int32 // number of the last event, -1: none
	batch int32 // number of the last batch's first event
	first Position
	used  int64 // what partition.uses was
}

const producerLen = 2 + 4 + 4 + 3*8 + 8

func (s *producer) encode() []byte {
	b := make([]byte, 0, producerLen)
	b = appendUint16(b, uint16(s.epoch))
	b = appendUint32(appendUint32(b, uint32(s.last)), uint32(s.batch))
	b = appendInt64(appendInt64(b, s.first.Sequence), s.first.Offset)
	return appendInt64(appendInt64(b, s.first.Enqueued.UnixMilli()), s.used)
}

func decodeProducer(b []byte, partition int) (s *producer, ok bool) {
	if len(b) != producerLen {
		return nil, false
	}
	return &producer{
		epoch: int16(uint16At(b, 0)), last: int32(uint32At(b, 2)), batch: int32(uint32At(b, 6)),
		first: Position{Partition: partition, Sequence: int64At(b, 10), Offset: int64At(b, 18), Enqueued: time.UnixMilli(int64At(b, 26)).UTC()},
		used:  int64At(b, 34),
	}, true
}

// after is the sequence number n events after s; they begin again at 0.
func after(s int32, n int) int32 { return int32((int64(s) + int64(n)) & math.MaxInt32) }

// ahead tells how far a is ahead of b on the circle of sequence numbers, negative when it is behind.
func ahead(a, b int32) int32 {
	d := (a - b) & math.MaxInt32
	if d > math.MaxInt32/2 {
		return d - math.MaxInt32 - 1
	}
	return d
}

// admit tells whether a batch of n events, the first numbered as p says, is stored already.
func (s *producer) admit(op string, p Producer, n int) (stored bool, err error) {
	switch {
	case p.Epoch < s.epoch:
		return false, fault.Newf(op, fault.Conflict, "producer %d has epoch %d by now; %d may not send any more", p.ID, s.epoch, p.Epoch).
			Because(ErrProducerFenced)
	case p.Epoch > s.epoch:
		return false, fault.Newf(op, fault.NotFound, "producer %d has epoch %d; %d was never registered", p.ID, s.epoch, p.Epoch).
			Advise("register the producer with that epoch first").Because(ErrUnknownProducer)
	case s.last < 0 && p.Sequence == 0, s.last >= 0 && ahead(p.Sequence, s.last) == 1:
		return false, nil
	case s.last >= 0 && ahead(p.Sequence, s.last) <= 0 && ahead(after(p.Sequence, n-1), s.last) <= 0:
		return true, nil
	}
	return false, fault.Newf(op, fault.Conflict, "producer %d sent %d events from number %d; the next number is %d", p.ID, n, p.Sequence, after(s.last, 1)).
		Advise("send what is missing first, or register a new producer").Because(ErrOutOfOrder)
}

// duplicate is where a batch stands that is stored already.
func (s *producer) duplicate(p Producer) Position {
	if p.Sequence == s.batch {
		return s.first
	}
	return Position{Partition: s.first.Partition, Sequence: -1, Offset: -1}
}

func unknownProducer(op string, id int64) error {
	return fault.Newf(op, fault.NotFound, "this partition knows no producer %d: it is another partition's, or forgotten", id).
		Advise("register a new producer").Because(ErrUnknownProducer)
}

func (c *committer) register(b *pebble.Batch, r *request) error {
	const op = "eventlog.RegisterProducer"
	st, err := c.existing(op, r.stream, r.partition)
	if err != nil {
		return err
	}
	p, known := st.partitions[r.partition], r.producer
	id, s := known.ID, p.producers[known.ID]
	switch {
	case id == 0:
		if err := c.forgetOne(b, st, r.partition); err != nil {
			return err
		}
		st.lastProducer++
		id, s = st.lastProducer, &producer{epoch: max(known.Epoch, 1), last: -1, first: Position{Partition: r.partition}}
		if err := b.Set(idKey(prefixLastProducer, st.id), appendInt64(nil, id), nil); err != nil {
			return err
		}
		if p.producers == nil {
			p.producers = map[int64]*producer{}
		}
		p.producers[id] = s
	case s == nil:
		return unknownProducer(op, id)
	case known.Epoch == 0 && s.epoch == math.MaxInt16:
		return fault.Newf(op, fault.Exhausted, "producer %d has no epoch left", id).Advise("register a new producer")
	case known.Epoch == 0:
		s.epoch++
	case known.Epoch < s.epoch:
		_, err := s.admit(op, known, 1)
		return err
	default:
		s.epoch = known.Epoch
	}
	r.answer.producer = Producer{ID: id, Epoch: s.epoch, Sequence: s.last}
	return c.keepProducer(b, st, r.partition, id, s)
}

// keepProducer stores a producer's state.
func (c *committer) keepProducer(b *pebble.Batch, st *stream, partition int, id int64, s *producer) error {
	p := st.partitions[partition]
	p.uses++
	s.used = p.uses
	return b.Set(producerKey(st.id, partition, id), s.encode(), nil)
}

// forgetOne makes room for a new producer.
func (c *committer) forgetOne(b *pebble.Batch, st *stream, partition int) error {
	p := st.partitions[partition]
	if len(p.producers) < MaxProducers {
		return nil
	}
	var idle int64
	for id, s := range p.producers {
		if idle == 0 || s.used < p.producers[idle].used {
			idle = id
		}
	}
	delete(p.producers, idle)
	return b.Delete(producerKey(st.id, partition, idle), nil)
}

func (l *Log) loadProducers(it *pebble.Iterator, st *stream) error {
	v, closer, err := l.db.Get(idKey(prefixLastProducer, st.id))
	switch {
	case errors.Is(err, pebble.ErrNotFound): // then there are none
		return nil
	case err != nil:
		return l.damaged(st.name, err)
	case len(v) == 8:
		st.lastProducer = int64At(v, 0)
	}
	if err := closer.Close(); err != nil || st.lastProducer < 1 {
		return l.damaged(st.name, err)
	}
	prefix := idKey(prefixProducer, st.id)
	for ok := it.SeekGE(prefix); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil || len(it.Key()) != producerKeyLen {
			return l.damaged("a producer of "+st.name, err)
		}
		i := int(uint16At(it.Key(), 5))
		s, ok := decodeProducer(v, i)
		if !ok || i >= len(st.partitions) {
			return l.damaged("a producer of "+st.name, nil)
		}
		p := st.partitions[i]
		if p.producers == nil {
			p.producers = map[int64]*producer{}
		}
		p.producers[int64At(it.Key(), 7)] = s
		p.uses = max(p.uses, s.used)
	}
	if err := it.Error(); err != nil {
		return l.damaged("the producers of "+st.name, err)
	}
	return nil
}
