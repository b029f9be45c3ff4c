package journal

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Config says where a journal is and how large it may grow. The zero value works but for Dir.
type Config struct {
	Dir           string // made with mode 0700 when it is not there
	MaxBytes      int64  // of records; 64 MiB when 0
	MaxRecordings int64  // bytes of recordings; 2 GiB when 0
}

const (
	defaultRecords    = 64 << 20
	defaultRecordings = 2 << 30
	largestSegment    = 1 << 20
	maxWaiting        = 4 << 20 // bytes of records that the disk did not take yet, about
)

func (c Config) withDefaults() Config {
	if c.MaxBytes <= 0 {
		c.MaxBytes = defaultRecords
	}
	if c.MaxRecordings <= 0 {
		c.MaxRecordings = defaultRecordings
	}
	return c
}

// Journal keeps records and recordings. Make it with Open; start it with Run, once; Close it last.
type Journal struct {
	cfg  Config
	log  *slog.Logger
	clk  clock.Clock
	life *life

	wake   chan struct{} // the disk has something to do
	news   chan struct{} // there may be a record to send
	newsIn chan struct{} // there may be a recording to send

	writing sync.Mutex // puts writes to the segments in order, and guards file
	file    *os.File   // the last segment while it may grow; nil: the next write begins another

	mu         sync.Mutex // guards the fields below
	direct     bool       // Run has ended: a note goes to the disk by itself
	waiting    []*note    // not on disk yet
	waitBytes  int
	dropped    int // records dropped since one said so
	refusing   bool
	segments   []*segment // the oldest first
	begun      uint64     // number of the last segment
	next       uint64     // number of the last record on disk
	taken      uint64     // the control plane has all records up to this number, or will never have them
	marked     uint64     // taken, as the disk has it
	open       map[string]session.Record
	recordings map[string]*recording
	recorded   int64 // bytes of recordings, also of those that were refused
	offset     time.Duration
	problems   map[string]string
}

// A note is a record on its way to the disk.
type note struct {
	record session.Record
	size   int // about
}

// Open makes the directory of this life. NotFound, Denied or Exhausted when the disk does not let it.
func Open(cfg Config, log *slog.Logger, clk clock.Clock) (*Journal, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, fault.New("journal.Open", fault.Invalid, "no directory was given for the journal of sessions")
	}
	j := &Journal{
		cfg: cfg, log: log, clk: clk, wake: make(chan struct{}, 1), news: make(chan struct{}, 1), newsIn: make(chan struct{}, 1),
		open: map[string]session.Record{}, recordings: map[string]*recording{}, problems: map[string]string{},
	}
	var err error
	if j.life, err = newLife(filepath.Join(cfg.Dir, "lives")); err != nil {
		return nil, diskFault("journal.Open", "the journal of sessions cannot be kept in "+cfg.Dir, err)
	}
	j.findRefused()
	return j, nil
}

// Close lets go of the directory; the next life takes over what is there. Nothing may be noted afterwards.
func (j *Journal) Close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.shut()
	return j.life.close()
}

// Note takes a record. It is on disk soon and then sent; see the package's promise. It does not block while Run runs.
func (j *Journal) Note(r session.Record) {
	j.mu.Lock()
	n := &note{r, weight(&r)}
	j.waiting = append(j.waiting, n)
	j.waitBytes += n.size
	for j.waitBytes > maxWaiting && len(j.waiting) > 1 {
		j.gone(j.waiting[0])
		j.waiting = j.waiting[1:]
		j.dropped++
	}
	direct := j.direct
	j.mu.Unlock()
	if direct {
		j.commit()
		return
	}
	signal(j.wake)
}

// gone notes, with mu held, that a record will not come to the disk any more.
func (j *Journal) gone(n *note) {
	j.waitBytes -= n.size
	if n.record.Phase == session.Ended {
		delete(j.open, n.record.Session)
		if r := j.recordings[n.record.Session]; r != nil {
			r.told = true
		}
	}
}

// weight is about how long a record is as JSON.
func weight(r *session.Record) int {
	n := 500 + len(r.Person) + len(r.Words)
	for _, f := range r.Files {
		n += 150 + len(f.Name)
	}
	for _, c := range r.Commands {
		n += 3 + len(c)
	}
	return n
}

// SetOffset says how much the control plane's clock is ahead of ours: the times of records that the journal itself makes are its.
func (j *Journal) SetOffset(d time.Duration) {
	j.mu.Lock()
	j.offset = d
	j.mu.Unlock()
}

// Problems says in words what is wrong, for people and for the report to the control plane.
func (j *Journal) Problems() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Values(j.problems))
}

// trouble remembers what is wrong, and logs when that begins, changes or ends.
func (j *Journal) trouble(what, words string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, was := j.problems[what]
	switch {
	case err == nil && was:
		delete(j.problems, what)
		j.log.Info("over: " + before)
	case err != nil:
		now := words + ": " + fault.Message(err)
		if now != before {
			j.log.Warn(words, "error", err, "next", fault.Next(err))
		}
		j.problems[what] = now
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
