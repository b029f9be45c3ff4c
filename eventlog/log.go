package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

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

	queue      queue
	streams    atomic.Pointer[map[string]*stream] // replaced whole by the committer once a new stream, or its end, is durable
	busy       atomic.Int32                       // partitions written to while the last memory table was filled, or this one
	nextStream uint32                             // lowest stream id never used, as found by Open
	kept       chan struct{}                      // one slot: a stream has a retention of its own now

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
	l.halt, l.kept = make(chan struct{}), make(chan struct{}, 1)
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

func (l *Log) damaged(what string, err error) error {
	return fault.Newf("eventlog", fault.Internal, "the event log in %s is damaged: %s", l.cfg.Dir, what).
		Advise("check the disk; restore the directory from a copy if it is broken").Because(err)
}

func (l *Log) stream(name string) *stream { return (*l.streams.Load())[name] }

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

// use guards db against Close. Without an error the caller unlocks l.closing for reading when done.
func (l *Log) use(op string) error {
	l.closing.RLock()
	if l.closed {
		l.closing.RUnlock()
		return stopping(op)
	}
	return nil
}

var _ interface {
	Append(context.Context, string, string, Event) (Position, error)
	AppendAsync(string, string, Event, func(Position, error))
} = (*Log)(nil)
