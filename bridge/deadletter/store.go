package deadletter

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	leastCharge = 1 << 10     // what a letter counts with at least
	steady      = time.Hour   // so long the clock must have run evenly before anything is too old
	lookAgain   = time.Minute // between looks for what is too old
)

// Store keeps the dead letters of one bridge. Make it with Open, Close it last.
type Store struct {
	dir       string
	maxBytes  int64
	retention time.Duration
	largest   int64 // a segment of that size takes nothing more in
	sync      func(*os.File) error
	log       *slog.Logger
	clk       clock.Clock

	writing sync.Mutex // puts writes and compactions in order, and guards file; taken before mu
	file    *os.File   // of the last segment while it may grow; nil: the next write begins another

	mu       sync.Mutex // guards the fields below
	group    *group     // letters that wait for the next write
	reserved int64      // what they will count with
	letters  []entry    // by id; some are no more
	gone     int        // how many of these are no more
	bytes    int64      // what those that are kept count with
	live     int64      // bytes of their records
	disk     int64      // bytes of all segments
	segments []*segment // the oldest first
	next     uint64     // the id of the next letter
	words    []string   // lanes and steps, as entries number them
	numbers  map[string]uint32
	looked   time.Time // when the clock was last looked at
	expires  time.Time // not before this is anything too old
	closed   bool
}

// group is letters that are written together.
type group struct {
	letters []*Letter
	done    chan struct{}
	err     error
}

var _ bridge.Letters = (*Store)(nil)

// Open reads what is there. Denied or Unavailable when the disk does not let it.
func Open(args bridge.LettersArgs) (*Store, error) {
	s := &Store{
		dir: args.Dir, maxBytes: args.Limits.MaxBytes, retention: time.Duration(args.Limits.RetentionHours) * time.Hour,
		largest: segmentSize, sync: (*os.File).Sync, log: args.Log, clk: args.Clock, numbers: map[string]uint32{}, next: 1,
	}
	if s.maxBytes <= 0 {
		s.maxBytes = resource.DefaultDeadBytes
	}
	if s.retention <= 0 {
		s.retention = resource.DefaultDeadHours * time.Hour
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.clk == nil {
		s.clk = clock.System{}
	}
	s.looked = s.clk.Now()
	s.expires = s.looked.Add(steady)
	if err := s.load(); err != nil {
		return nil, diskFault("deadletter.Open", err)
	}
	return s, nil
}

// load reads all segments.
func (s *Store) load() error {
	list, err := segments(s.dir)
	if err != nil {
		return err
	}
	at := map[uint64]int{}
	for _, g := range list {
		b, err := os.ReadFile(g.path)
		if err != nil {
			return err
		}
		g.size = int64(len(b))
		s.segments, s.disk, s.next = append(s.segments, g), s.disk+g.size, max(s.next, g.first)
		damaged := 0
		for offset := 0; ; {
			content, skipped, size := next(b[offset:])
			if size == 0 {
				break
			}
			damaged += skipped
			offset += skipped
			l, deleted, err := parse(content, false)
			switch {
			case err != nil:
				damaged += size
			case l == nil:
				for _, id := range deleted {
					if i, there := at[id]; there {
						s.forget(&s.letters[i])
						delete(at, id)
					}
				}
			default:
				s.next = max(s.next, l.ID+1)
				if i, there := at[l.ID]; there { // it was being written anew when the process was killed
					s.forget(&s.letters[i])
				}
				at[l.ID] = len(s.letters)
				s.keep(l, g, int64(offset), size)
			}
			offset += size
		}
		if damaged > 0 {
			s.log.Warn("a file of dead letters is damaged: some of it cannot be read", "file", g.path, "bytes", damaged)
		}
	}
	s.letters = slices.DeleteFunc(s.letters, func(e entry) bool { return e.segment == nil })
	slices.SortFunc(s.letters, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	s.gone = 0
	return nil
}

// keep puts a letter into the index.
func (s *Store) keep(l *Letter, g *segment, offset int64, size int) {
	s.letters = append(s.letters, entry{
		id: l.ID, at: l.At.UnixNano(), offset: offset, segment: g, size: int32(size), step: s.number(l.Step), lane: s.number(l.Lane), // a record has at most 64 MiB
	})
	g.live++
	s.live += int64(size)
	s.bytes += charge(size)
}

func (s *Store) number(word string) uint32 {
	n, there := s.numbers[word]
	if !there {
		n = uint32(len(s.words)) // steps and lanes are few
		s.words, s.numbers[word] = append(s.words, word), n
	}
	return n
}

func charge(size int) int64 { return max(int64(size), leastCharge) }

// forget takes a letter out of the index.
func (s *Store) forget(e *entry) {
	if e.segment == nil {
		return
	}
	e.segment.live--
	s.live -= int64(e.size)
	s.bytes -= charge(int(e.size))
	e.segment = nil
	s.gone++
}

// tidy drops what was forgotten from the index when that is half of it.
func (s *Store) tidy() {
	if s.gone > 64 && s.gone > len(s.letters)/2 {
		s.letters, s.gone = slices.DeleteFunc(s.letters, func(e entry) bool { return e.segment == nil }), 0
	}
}

// Put keeps an event as it came from the source. nil: it is on the disk. Exhausted: so much is kept, or on the disk, that there is no room;
// the fault says what to do. The same event may be put twice.
func (s *Store) Put(ctx context.Context, lane, step string, e *event.Event, reason string) error {
	return s.PutAll(ctx, lane, []bridge.Dead{{Event: e, Step: step, Reason: reason}})
}

// PutAll is Put for several at once: nil when all are on the disk. After an error some may be; all may be put again.
func (s *Store) PutAll(ctx context.Context, lane string, dead []bridge.Dead) error {
	if len(dead) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	now := s.clk.Now()
	need := int64(0)
	for i := range dead {
		size := dead[i].Event.Size() + len(dead[i].Reason) + headSize
		if size > maxRecord/2 {
			return fault.Newf("deadletter.Put", fault.TooLarge, "an event of %d bytes is too large to be kept", size)
		}
		need += charge(size)
	}
	s.mu.Lock()
	s.expire(now)
	if s.closed {
		s.mu.Unlock()
		return fault.New("deadletter.Put", fault.Unavailable, "the store of dead letters is closed")
	}
	if kept := s.bytes + s.reserved; kept > 0 && kept+need > s.maxBytes {
		n := len(s.letters) - s.gone
		s.mu.Unlock()
		return fault.Newf("deadletter.Put", fault.Exhausted, "%d dead letters are kept, which is all that spec.deadLetters.maxBytes allows", n).
			Advise("replay or delete some: isthmus bridge dead-letters list")
	}
	if s.group == nil {
		s.group = &group{done: make(chan struct{})}
	}
	g := s.group
	for i := range dead {
		g.letters = append(g.letters, &Letter{Lane: lane, Step: dead[i].Step, Reason: dead[i].Reason, At: now, Event: dead[i].Event})
	}
	s.reserved += need
	s.mu.Unlock()

	s.writing.Lock()
	defer s.writing.Unlock()
	select {
	case <-g.done: // somebody else wrote it with his own
	default:
		g.err = s.write(g)
		close(g.done)
		s.compact()
	}
	return g.err
}

// Kept is how many letters there are.
func (s *Store) Kept() int64 {
	now := s.clk.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	return int64(len(s.letters) - s.gone)
}

// expire forgets what is too old. A clock that jumps puts it off: what a wrong clock takes away nobody brings back.
func (s *Store) expire(now time.Time) {
	wall, real := now.Round(0).Sub(s.looked.Round(0)), now.Sub(s.looked)
	if jump := wall - real; jump > lookAgain || jump < -lookAgain {
		s.expires = now.Add(steady)
	}
	if real >= 0 && real < lookAgain {
		return
	}
	s.looked = now
	if now.Before(s.expires) {
		return
	}
	before := now.Add(-s.retention).UnixNano()
	old := 0
	for i := range s.letters {
		if e := &s.letters[i]; e.segment != nil && e.at < before {
			s.forget(e)
			old++
		}
	}
	if old > 0 {
		s.log.Info("dead letters were too old to be kept any longer", "letters", old)
	}
	s.tidy()
}

// Close lets go of the files. What was put is on the disk.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return diskFault("deadletter.Close", s.shut())
}

// shut ends the last segment, with writing held: the next write begins another.
func (s *Store) shut() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
