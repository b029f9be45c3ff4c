package control

import "sync"

// stirs tells those who wait for one grant that it has changed.
type stirs struct {
	mu      sync.Mutex // guards waiting and total
	waiting map[string]map[chan struct{}]struct{}
	total   int
}

// Bounds of the calls that wait at the same time: all of them, and those for one grant.
const (
	maxWaiting    = 10_000
	maxWaitingFor = 50
)

// listen returns a channel that is closed at the next change of a grant, nil when too many wait already. leave must be called.
func (s *stirs) listen(id string) (changed <-chan struct{}, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= maxWaiting || len(s.waiting[id]) >= maxWaitingFor {
		return nil, func() {}
	}
	if s.waiting[id] == nil {
		s.waiting[id] = map[chan struct{}]struct{}{}
	}
	c := make(chan struct{})
	s.waiting[id][c] = struct{}{}
	s.total++
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(id, c)
	}
}

func (s *stirs) drop(id string, c chan struct{}) {
	if _, there := s.waiting[id][c]; !there {
		return
	}
	delete(s.waiting[id], c)
	s.total--
	if len(s.waiting[id]) == 0 {
		delete(s.waiting, id)
	}
}

// stir wakes those who wait for a grant.
func (s *stirs) stir(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.waiting[id] {
		close(c)
		s.drop(id, c)
	}
}

// stirAll wakes everybody.
func (s *stirs) stirAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, of := range s.waiting {
		for c := range of {
			close(c)
			s.drop(id, c)
		}
	}
}
