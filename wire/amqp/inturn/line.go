package inturn

import "sync"

// Line is functions that wait for their turn. The zero value is empty.
type Line struct {
	busy sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	waiting []func()
	running bool
}

// Do runs f after everything that was handed in before. It does not wait.
func (l *Line) Do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, f)
	if !l.running {
		l.running = true
		l.busy.Go(l.run)
	}
}

// Len returns how many functions wait; the one that runs does not count.
func (l *Line) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Wait returns when nothing runs any more. Nothing may be handed in then, or meanwhile.
func (l *Line) Wait() { l.busy.Wait() }

func (l *Line) run() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running, l.waiting = false, nil
			l.mu.Unlock()
			return
		}
		f := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		f()
	}
}
