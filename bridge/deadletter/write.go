package deadletter

import (
	"fmt"
	"os"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
)

// write writes a group, with writing held.
func (s *Store) write(g *group) error {
	s.mu.Lock()
	s.group = nil // what comes now waits for the next write
	for _, l := range g.letters {
		l.ID = s.next // not given to another one even if this fails: who knows what is on the disk
		s.next++
	}
	reserved := s.reserved
	s.mu.Unlock()
	ends := make([]int, 0, len(g.letters))
	var b []byte
	for _, l := range g.letters {
		b = appendLetter(b, l)
		ends = append(ends, len(b))
	}
	at, seg, err := s.append(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved -= reserved // all of the group: nobody joins it once writing is held
	if err != nil {
		return err
	}
	from := 0
	for i, l := range g.letters {
		s.keep(l, seg, at+int64(from), ends[i]-from)
		from = ends[i]
	}
	return nil
}

// append puts records behind the others and makes them durable, with writing held. After an error the next ones go to another segment.
func (s *Store) append(b []byte) (offset int64, seg *segment, err error) {
	if s.file == nil || s.last().size >= s.largest {
		if err := s.begin(); err != nil {
			return 0, nil, diskFault("deadletter.append", err)
		}
	}
	seg = s.last()
	n, err := s.file.Write(b)
	if err == nil {
		err = s.sync(s.file)
	}
	s.mu.Lock()
	offset = seg.size
	seg.size += int64(n)
	s.disk += int64(n)
	s.mu.Unlock()
	if err != nil {
		_ = s.shut() // what matters is the error
		return 0, nil, diskFault("deadletter.append", err)
	}
	return offset, seg, nil
}

func (s *Store) last() *segment { return s.segments[len(s.segments)-1] }

// begin begins a segment, with writing held.
func (s *Store) begin() error {
	if err := s.shut(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	number := uint64(1)
	if len(s.segments) > 0 {
		number = s.last().number + 1
	}
	seg, f, err := newSegment(s.dir, number, s.next)
	if err != nil {
		return err
	}
	s.segments, s.file = append(s.segments, seg), f
	return nil
}

// Delete takes letters away for good and returns how many.
func (s *Store) Delete(f Filter) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	ids := make([]uint64, 0, 16)
	for _, e := range s.picked(f, 0) {
		ids = append(ids, e.id)
	}
	s.mu.Unlock()
	return s.delete(ids)
}

// delete takes letters away, with writing held.
func (s *Store) delete(ids []uint64) (n int, err error) {
	for chunk := range slices.Chunk(ids, 100_000) {
		if _, _, err := s.append(appendDeleted(nil, chunk)); err != nil {
			return n, err
		}
		s.mu.Lock()
		for _, id := range chunk {
			if e := s.find(id); e != nil {
				s.forget(e)
				n++
			}
		}
		s.tidy()
		s.mu.Unlock()
	}
	s.compact()
	return n, nil
}

// compact drops segments from the oldest on, with writing held. Its errors are logged: nothing is lost by them but room.
func (s *Store) compact() {
	for {
		s.mu.Lock()
		if len(s.segments) < 2 {
			s.mu.Unlock()
			return
		}
		oldest := s.segments[0]
		waste := s.disk > 2*s.live+2*s.largest
		empty := oldest.live == 0
		s.mu.Unlock()
		if !empty && !waste {
			return
		}
		var err error
		if !empty {
			err = s.move(oldest)
		}
		if err == nil {
			err = os.Remove(oldest.path)
		}
		if err != nil {
			s.log.Warn("a file of dead letters cannot be made smaller", "file", oldest.path, "error", err)
			return
		}
		s.mu.Lock()
		s.segments = s.segments[1:]
		s.disk -= oldest.size
		s.mu.Unlock()
	}
}

// move writes what is left of a segment behind the others.
func (s *Store) move(from *segment) error {
	b, err := os.ReadFile(from.path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	var left []entry
	for i := range s.letters {
		if s.letters[i].segment == from {
			left = append(left, s.letters[i])
		}
	}
	s.mu.Unlock()
	var records []byte
	for _, e := range left {
		if e.offset+int64(e.size) > int64(len(b)) {
			return fault.New("deadletter.move", fault.Internal, "the file has become shorter")
		}
		frame := b[e.offset : e.offset+int64(e.size)]
		if _, skipped, size := next(frame); skipped != 0 || size != len(frame) {
			return fault.New("deadletter.move", fault.Internal, fmt.Sprintf("letter %d cannot be read any more", e.id))
		}
		records = append(records, frame...)
	}
	if s.last() == from { // cannot be: two are there
		return nil
	}
	at, seg, err := s.append(records)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range left {
		if e := s.find(left[i].id); e != nil {
			e.segment, e.offset = seg, at
			from.live--
			seg.live++
		}
		at += int64(left[i].size)
	}
	return nil
}
