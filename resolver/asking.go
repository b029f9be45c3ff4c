package resolver

import "sync"

// asked stands for a question that upstreams were asked.
type asked struct {
	name  string
	qtype uint16
}

// asking counts the questions in flight, to find out about an upstream that asks us what it is asked. Servers of this kind tell
// themselves by the token in the query; others drop it.
type asking struct {
	mu     sync.Mutex // guards counts
	counts map[asked]int
}

func (a *asking) add(q asked) {
	a.mu.Lock()
	a.counts[q]++
	a.mu.Unlock()
}

func (a *asking) remove(q asked) {
	a.mu.Lock()
	if a.counts[q]--; a.counts[q] <= 0 {
		delete(a.counts, q)
	}
	a.mu.Unlock()
}

func (a *asking) has(q asked) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[q] > 0
}
