package deadletter

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sort"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

// find returns a letter's entry, nil when it is no more; with mu held.
func (s *Store) find(id uint64) *entry {
	i := sort.Search(len(s.letters), func(i int) bool { return s.letters[i].id >= id })
	if i == len(s.letters) || s.letters[i].id != id || s.letters[i].segment == nil {
		return nil
	}
	return &s.letters[i]
}

// picked returns the entries that a filter picks, at most limit unless that is 0; with mu held.
func (s *Store) picked(f Filter, limit int) (out []entry) {
	s.expire(s.clk.Now())
	step, known := s.numbers[f.Step]
	lane, known2 := s.numbers[f.Lane]
	if f.Step != "" && !known || f.Lane != "" && !known2 {
		return nil
	}
	first, last := f.bounds()
	i := sort.Search(len(s.letters), func(i int) bool { return s.letters[i].id >= first })
	for ; i < len(s.letters) && s.letters[i].id <= last && (limit == 0 || len(out) < limit); i++ {
		switch e := s.letters[i]; {
		case e.segment == nil, f.Step != "" && e.step != step, f.Lane != "" && e.lane != lane:
		case !f.After.IsZero() && e.at < f.After.UnixNano(), !f.Before.IsZero() && e.at >= f.Before.UnixNano():
		default:
			out = append(out, e)
		}
	}
	return out
}

// Count is how many letters a filter picks.
func (s *Store) Count(f Filter) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.picked(f, 0))
}

// List returns letters, the oldest first, at most limit and of about maxBytes.
func (s *Store) List(f Filter, limit, maxBytes int) ([]*Letter, error) {
	s.mu.Lock()
	list := s.picked(f, limit)
	s.mu.Unlock()
	var out []*Letter
	for _, e := range list {
		if maxBytes -= int(e.size); maxBytes < 0 && len(out) > 0 {
			break
		}
		l, err := s.read(e)
		if fault.KindOf(err) == fault.NotFound && err != nil {
			continue // deleted meanwhile
		}
		if err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

// Get returns one letter. NotFound: there is none of the number.
func (s *Store) Get(id uint64) (*Letter, error) {
	s.mu.Lock()
	e := s.find(id)
	var found entry
	if e != nil {
		found = *e
	}
	s.mu.Unlock()
	if e == nil {
		return nil, notThere(id)
	}
	return s.read(found)
}

func notThere(id uint64) error {
	return fault.Newf("deadletter.Get", fault.NotFound, "there is no dead letter %d", id).Advise("list them with: isthmus bridge dead-letters list")
}

// read reads a letter from the disk.
func (s *Store) read(e entry) (*Letter, error) {
	for {
		l, err := readAt(e)
		if err == nil {
			return l, nil
		}
		s.mu.Lock() // it may have been moved, and its file removed, meanwhile
		now := s.find(e.id)
		moved := now != nil && (now.segment != e.segment || now.offset != e.offset)
		if moved {
			e = *now
		}
		s.mu.Unlock()
		switch {
		case now == nil:
			return nil, notThere(e.id)
		case !moved && errors.Is(err, fs.ErrNotExist):
			return nil, fault.Newf("deadletter.Get", fault.Unavailable, "the file with dead letter %d is gone", e.id).Because(err)
		case !moved:
			return nil, fault.Newf("deadletter.Get", fault.Unavailable, "dead letter %d cannot be read", e.id).Because(err)
		}
	}
}

func readAt(e entry) (*Letter, error) {
	f, err := os.Open(e.segment.path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	frame := make([]byte, e.size)
	if _, err := f.ReadAt(frame, e.offset); err != nil {
		return nil, err
	}
	content, skipped, size := next(frame)
	if skipped != 0 || size != len(frame) {
		return nil, fault.New("deadletter.read", fault.Unavailable, "its checksum is wrong")
	}
	l, _, err := parse(content, true)
	if err != nil {
		return nil, err
	}
	l.Size = size
	return l, nil
}

// Bounds of what is sent at a time by Replay.
const (
	replayLetters = 500
	replayBytes   = 4 << 20
)

// Replay hands the events of letters to send, some at a time, and deletes each letter once send has returned nil for it. Letters that are
// put meanwhile are not replayed. n is how many were.
func (s *Store) Replay(ctx context.Context, f Filter, send func(context.Context, []*event.Event) error) (n int, err error) {
	s.mu.Lock()
	if first, last := f.bounds(); last >= s.next {
		if f.Last = s.next - 1; first > f.Last || f.Last == 0 {
			s.mu.Unlock()
			return 0, nil
		}
	}
	s.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return n, fault.Wrap("deadletter.Replay", fault.Timeout, err, "the replay was ended before all was sent")
		}
		list, err := s.List(f, replayLetters, replayBytes)
		if err != nil || len(list) == 0 {
			return n, err
		}
		events, ids := make([]*event.Event, len(list)), make([]uint64, len(list))
		for i, l := range list {
			events[i], ids[i] = l.Event, l.ID
		}
		if err := send(ctx, events); err != nil {
			return n, err
		}
		s.writing.Lock()
		_, err = s.delete(ids)
		s.writing.Unlock()
		if err != nil {
			return n, err
		}
		n += len(list)
		f.First = ids[len(ids)-1] + 1
	}
}
