package eventlog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// StreamOptions is how a stream is made. The zero value is what Append makes.
type StreamOptions struct {
	Partitions int       // 1 to MaxPartitions; 0: Config.Partitions
	Hash       string    // which partition a key has: "fnv" (also when empty), see FNV and Config.Partition, or "lookup3", see Lookup3
	Retention  Retention // zero: Config's; negative numbers: no limit
}

// stream goes away only when it is deleted. Whoever still holds it then finds gone set.
type stream struct {
	name       string
	id         uint32 // never used for another stream, even after a deletion
	made       int64  // unix milliseconds
	hashed     hashKind
	hash       Hash
	partitions []*partition

	retention atomic.Pointer[Retention]
	gone      atomic.Bool // set before the deletion reaches the store

	turn         int   // the committer's: round robin for events without a key
	lastProducer int64 // the committer's: the highest id ever given to a producer
}

type partition struct {
	tail      ends                // the committer's: what the next event builds on
	touched   bool                // the committer's: changed in the commit at hand
	turn      int                 // the committer's: see business
	producers map[int64]*producer // the committer's; nil while there was none
	uses      int64               // the committer's: counts what producers do, to know who did nothing for longest

	durable atomic.Pointer[ends] // what readers may know
	cut     atomic.Int64         // events before it may be trimmed already; moves before durable does
	news    news
}

// hashKind is how a stream's hash is stored.
type hashKind uint8

const (
	hashConfig hashKind = iota // Config.Partition
	hashLookup3
)

func (h hashKind) String() string {
	if h == hashLookup3 {
		return "lookup3"
	}
	return "fnv"
}

// CreateStream makes a stream, durably. It does nothing when the stream is there already with as many partitions and the same hash;
// others are a Conflict, since the partition of every key would change. The retention of a stream that is there stays: see
// SetRetention.
func (l *Log) CreateStream(ctx context.Context, name string, o StreamOptions) error {
	if err := checkName("stream", name); err != nil {
		return err
	}
	h := hashConfig
	switch o.Hash {
	case "", "fnv":
	case "lookup3":
		h = hashLookup3
	default:
		return fault.Newf("eventlog.Create", fault.Invalid, "the hash of a stream is fnv or lookup3, not %q", o.Hash)
	}
	o.Partitions = or(o.Partitions, l.cfg.Partitions)
	if o.Partitions < 1 || o.Partitions > MaxPartitions {
		return fault.Newf("eventlog.Create", fault.Invalid, "a stream has 1 to %d partitions, not %d", MaxPartitions, o.Partitions)
	}
	if st := l.stream(name); st != nil {
		return st.same(o.Partitions, h)
	}
	r := getRequest(createStream, name)
	r.number, r.hashed, r.retention = int64(o.Partitions), h, o.Retention
	_, err := l.do(ctx, "eventlog.Create", r)
	return err
}

// Create is CreateStream with the hash fnv and Config's retention.
func (l *Log) Create(ctx context.Context, stream string, partitions int) error {
	return l.CreateStream(ctx, stream, StreamOptions{Partitions: partitions})
}

func (st *stream) same(partitions int, h hashKind) error {
	const op, advice = "eventlog.Create", "keep it, or make another stream"
	if n := len(st.partitions); n != partitions {
		return fault.Newf(op, fault.Conflict, "stream %s has %d partitions; that cannot become %d", st.name, n, partitions).Advise(advice)
	}
	if st.hashed != h {
		return fault.Newf(op, fault.Conflict, "stream %s has the hash %v; that cannot become %v", st.name, st.hashed, h).Advise(advice)
	}
	return nil
}

// Options returns how a stream is made. NotFound when there is no such stream.
func (l *Log) Options(name string) (StreamOptions, error) {
	st := l.stream(name)
	if st == nil {
		return StreamOptions{}, noStream("eventlog.Options", name)
	}
	return StreamOptions{Partitions: len(st.partitions), Hash: st.hashed.String(), Retention: *st.retention.Load()}, nil
}

// SetRetention changes what a stream keeps, durably; what it forbids is trimmed soon after. It works on a full disk. NotFound when
// there is no such stream.
func (l *Log) SetRetention(ctx context.Context, name string, keep Retention) error {
	if l.stream(name) == nil {
		return noStream("eventlog.SetRetention", name)
	}
	r := getRequest(keepStream, name)
	r.retention = keep
	_, err := l.do(ctx, "eventlog.SetRetention", r)
	return err
}

// DeleteStream forgets a stream with its events and its producers, durably and all at once. Readers that wait, and all later ones, get
// NotFound; a new stream of the same name begins at sequence number 0. It works on a full disk. NotFound when there is no such stream.
//
// What is appended afterwards makes the stream anew, as ever, unless it is a batch that asks for an existing one.
func (l *Log) DeleteStream(ctx context.Context, name string) error {
	if l.stream(name) == nil {
		return noStream("eventlog.DeleteStream", name)
	}
	_, err := l.do(ctx, "eventlog.DeleteStream", getRequest(deleteStream, name))
	return err
}

func (l *Log) newStream(name string, m streamMeta) *stream {
	st := &stream{name: name, id: m.id, made: m.made, hashed: m.hashed, hash: l.cfg.Partition, partitions: make([]*partition, m.partitions)}
	if m.hashed == hashLookup3 {
		st.hash = Lookup3
	}
	st.retention.Store(&m.retention)
	for i := range st.partitions {
		p := &partition{tail: ends{lastOffset: -1}}
		p.durable.Store(&ends{lastOffset: -1})
		st.partitions[i] = p
	}
	return st
}

func (st *stream) meta() streamMeta {
	return streamMeta{id: st.id, partitions: len(st.partitions), made: st.made, hashed: st.hashed, retention: *st.retention.Load()}
}

// keeps is the retention that holds for st.
func (l *Log) keeps(st *stream) Retention {
	if r := *st.retention.Load(); r != (Retention{}) {
		return r
	}
	return l.cfg.Retention
}

// streamMeta is what is stored of a stream.
type streamMeta struct {
	id         uint32
	partitions int
	made       int64
	hashed     hashKind
	retention  Retention
}

func (m streamMeta) encode() []byte {
	b := make([]byte, 0, streamMetaLen)
	b = appendUint32(b, m.id)
	b = appendUint16(b, uint16(m.partitions))
	b = appendInt64(b, m.made)
	b = append(b, byte(m.hashed))
	b = appendInt64(b, int64(m.retention.Age))
	return appendInt64(b, m.retention.Bytes)
}

func decodeStreamMeta(b []byte) (m streamMeta, ok bool) {
	if len(b) != streamMetaLen && len(b) != firstStreamMetaLen {
		return m, false
	}
	m = streamMeta{id: uint32At(b, 0), partitions: int(uint16At(b, 4)), made: int64At(b, 6)}
	if len(b) == streamMetaLen {
		m.hashed = hashKind(b[14])
		m.retention = Retention{Age: time.Duration(int64At(b, 15)), Bytes: int64At(b, 23)}
	}
	return m, m.partitions > 0 && m.hashed <= hashLookup3
}
