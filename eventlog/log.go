package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Log is an open event log. Safe for concurrent use.
type Log struct {
	cfg     Config
	db      *pebble.DB
	lock    *pebble.Lock
	log     *slog.Logger
	clk     clock.Clock
	metrics *metrics

	queue   queue
	streams atomic.Pointer[map[string]*stream] // replaced whole by the committer once a new stream is durable

	fullness
	running atomic.Bool
	stop    sync.Once
	over    chan struct{} // closed when the log stops for whatever reason; cause is set before
	cause   error
	failed  atomic.Pointer[fault.Error]
	failing chan struct{} // closed by the first fail

	closing sync.RWMutex // readers hold it shared while they use db
	closed  bool
}

// stream and its partitions never go away while the log is open.
type stream struct {
	name       string
	id         uint32
	partitions []*partition
	turn       int // the committer's round robin for events without a key
}

type partition struct {
	tail    ends // the committer's: what the next event builds on
	touched bool // the committer's: changed in the commit at hand

	durable atomic.Pointer[ends] // what readers may know
	news    news
}

// Open opens the log in cfg.Dir, making it when it is not there, and recovers every event that was ever acknowledged. Opening again
// after any kind of end changes nothing. Kinds of fault: Conflict when another process has it open, Exhausted when the disk is too
// full even to open it, Invalid for a bad Config. reg may be nil.
func Open(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, openFault(cfg.Dir, err)
	}
	lock, err := pebble.LockDirectory(cfg.Dir, cfg.FS)
	if err != nil {
		return nil, lockFault(cfg.Dir, err)
	}
	l := &Log{cfg: cfg, lock: lock, log: log, clk: clk, metrics: newMetrics(reg), over: make(chan struct{}), failing: make(chan struct{})}
	l.halt = make(chan struct{})
	l.queue.init(cfg.QueueBytes)
	if err := l.roomToOpen(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if l.db, err = pebble.Open(cfg.Dir, l.options()); err != nil {
		return nil, errors.Join(openFault(cfg.Dir, err), lock.Close())
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(err, l.db.Close(), lock.Close())
	}
	l.opened.Store(true)
	return l, nil
}

func (l *Log) options() *pebble.Options {
	o := &pebble.Options{
		FS:                          &patientFS{FS: l.cfg.FS, l: l},
		Lock:                        l.lock,
		Logger:                      storeLogger{l},
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		CacheSize:                   16 << 20,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64, // files of a log hardly overlap, so many of them do readers no harm, while a stall harms writers
		MaxOpenFiles:                1024,
		FlushDelayDeleteRange:       1e9, // a second: trims are how a full disk gets room again
	}
	return o
}

// roomToOpen refuses what would hang: recovery writes what the store's logs hold into tables, and tries for ever when there is no
// space for them.
func (l *Log) roomToOpen() error {
	u, err := l.cfg.FS.GetDiskUsage(l.cfg.Dir)
	if err != nil {
		return nil //nolint:nilerr // unknown space is no reason to refuse; the first look while running says so
	}
	names, err := l.cfg.FS.List(l.cfg.Dir)
	if err != nil {
		return openFault(l.cfg.Dir, err)
	}
	need := uint64(4 << 20)
	for _, n := range names {
		if strings.HasSuffix(n, ".log") {
			if info, err := l.cfg.FS.Stat(l.cfg.FS.PathJoin(l.cfg.Dir, n)); err == nil {
				need += uint64(info.Size())
			}
		}
	}
	if u.AvailBytes < need {
		return noRoom(l.cfg.Dir, need)
	}
	return nil
}

func noRoom(dir string, need uint64) *fault.Error {
	return fault.Newf("eventlog.Open", fault.Exhausted, "the disk holding %s is full: the event log cannot be opened", dir).
		Advise("free %s on that disk and start again; stored events are safe", size(need))
}

func openFault(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return noRoom(dir, 64<<20).Because(err)
	}
	return fault.Newf("eventlog.Open", fault.Unavailable, "the event log in %s cannot be opened: %v", dir, err).
		Advise("look at the directory's owner and mode and at the disk; do not delete anything in it").Because(err)
}

func lockFault(dir string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok || errors.Is(err, syscall.ENOSPC) {
		return openFault(dir, err)
	}
	return fault.Newf("eventlog.Open", fault.Conflict, "the event log in %s is in use by another process", dir).
		Advise("stop the other process, or give this one a data directory of its own").Because(err)
}

// load checks the layout and reads where every partition stands.
func (l *Log) load() error {
	if err := l.checkLayout(); err != nil {
		return err
	}
	it, err := l.db.NewIter(nil)
	if err != nil {
		return l.damaged("the list of streams", err)
	}
	known := map[string]*stream{}
	for ok := it.SeekGE([]byte{prefixStream}); ok && it.Key()[0] == prefixStream; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil || len(v) != streamMetaLen {
			return errors.Join(l.damaged("the list of streams", err), it.Close())
		}
		name := string(it.Key()[1:])
		known[name] = newStream(name, binary.BigEndian.Uint32(v), int(binary.BigEndian.Uint16(v[4:])))
	}
	for _, st := range known {
		for i, p := range st.partitions {
			if err := l.loadPartition(it, st, i, p); err != nil {
				return errors.Join(err, it.Close())
			}
		}
	}
	if err := it.Close(); err != nil {
		return l.damaged("the list of streams", err)
	}
	l.streams.Store(&known)
	return nil
}

func (l *Log) checkLayout() error {
	v, closer, err := l.db.Get(layoutKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		// Not synced by itself: the first commit's fsync covers it.
		return openFaultOrNil(l.cfg.Dir, l.db.Set(layoutKey, []byte{layout}, pebble.NoSync))
	case err != nil:
		return openFault(l.cfg.Dir, err)
	}
	defer func() { _ = closer.Close() }()
	if len(v) != 1 || v[0] != layout {
		return fault.Newf("eventlog.Open", fault.Invalid, "the event log in %s was written by a newer release (layout %v)", l.cfg.Dir, v).
			Advise("start the release that wrote it, or a newer one")
	}
	return nil
}

func openFaultOrNil(dir string, err error) error {
	if err == nil {
		return nil
	}
	return openFault(dir, err)
}

// loadPartition takes the newest of the record a trim left and the last event's header.
func (l *Log) loadPartition(it *pebble.Iterator, st *stream, i int, p *partition) error {
	e := ends{lastOffset: -1}
	v, closer, err := l.db.Get(boundsKey(st.id, i))
	switch {
	case err == nil:
		var ok bool
		e, ok = decodeEnds(v)
		if err := closer.Close(); err != nil || !ok {
			return l.damaged(st.name, err)
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return l.damaged(st.name, err)
	}
	if it.SeekLT(eventKey(st.id, i, -1)) && len(it.Key()) == eventKeyLen && string(it.Key()[:7]) == string(eventKey(st.id, i, 0)[:7]) {
		rec, err := it.ValueAndErr()
		if err != nil {
			return l.damaged(st.name, err)
		}
		enqueued, offset, err := header(rec)
		if err != nil {
			return l.damaged(st.name, err)
		}
		if seq := sequenceOf(it.Key()); seq >= e.next {
			e.next, e.lastOffset, e.nextOffset, e.lastEnqueued = seq+1, offset, offset+int64(len(rec)), enqueued
		}
	}
	p.tail = e
	p.durable.Store(&e)
	return nil
}

func (l *Log) damaged(what string, err error) error {
	return fault.Newf("eventlog", fault.Internal, "the event log in %s is damaged: %s", l.cfg.Dir, what).
		Advise("check the disk; restore the directory from a copy if it is broken").Because(err)
}

func newStream(name string, id uint32, partitions int) *stream {
	st := &stream{name: name, id: id, partitions: make([]*partition, partitions)}
	for i := range st.partitions {
		p := &partition{tail: ends{lastOffset: -1}}
		p.durable.Store(&ends{lastOffset: -1})
		st.partitions[i] = p
	}
	return st
}

func (l *Log) stream(name string) *stream { return (*l.streams.Load())[name] }

func (l *Log) addStreams(fresh []*stream) {
	if len(fresh) == 0 {
		return
	}
	m := maps.Clone(*l.streams.Load())
	for _, st := range fresh {
		m[st.name] = st
	}
	l.streams.Store(&m)
}

// Streams returns the names of all streams, in no order.
func (l *Log) Streams() []string {
	m := *l.streams.Load()
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	return names
}

// end closes the gate once: appends and waits get cause from now on.
func (l *Log) end(cause error) {
	l.stop.Do(func() {
		l.cause = cause
		l.queue.close(cause)
		close(l.over)
	})
}

func stopping(op string) error {
	return fault.New(op, fault.Unavailable, "the event log is stopping").Advise("try again when the hub has started again")
}

// Close gives the directory back. Call it after Run has returned; without a Run, appends still waiting are refused. The store of a
// failed log is left as it is, see the package's comment. A second Close does nothing.
func (l *Log) Close() error {
	l.end(stopping("eventlog.Close"))
	l.queue.refuse()
	if err := l.Err(); err != nil {
		return err
	}
	l.closing.Lock()
	defer l.closing.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return fault.Wrap("eventlog.Close", fault.Internal, errors.Join(l.db.Close(), l.lock.Close()), "")
}

// Err is the fault that ended the log for good, or nil.
func (l *Log) Err() error {
	if f := l.failed.Load(); f != nil {
		return f
	}
	return nil
}

// use guards db against Close.
func (l *Log) use(op string) (release func(), err error) {
	l.closing.RLock()
	if l.closed {
		l.closing.RUnlock()
		return nil, stopping(op)
	}
	return l.closing.RUnlock, nil
}

var _ interface {
	Append(context.Context, string, string, Event) (Position, error)
	AppendAsync(string, string, Event, func(Position, error))
} = (*Log)(nil)
