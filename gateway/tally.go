package gateway

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	mostUses  = 2000 // rules, and as many names, of a gateway that are counted by themselves; the rest is counted together
	otherUses = "other"
	anyName   = "*" // names that lead by a route without names, and none
)

// use counts the connections of one rule or one name of a gateway. A nil use counts nothing.
type use struct {
	label              string
	open               atomic.Int64
	total, sent, recvd atomic.Uint64
}

func (u *use) enter() {
	u.open.Add(1)
	u.total.Add(1)
}

func (u *use) leave(sent, received uint64) {
	u.open.Add(-1)
	u.sent.Add(sent)
	u.recvd.Add(received)
}

// become takes one open connection to another use.
func (u *use) become(next *use) *use {
	if u == next {
		return next
	}
	if u != nil {
		u.open.Add(-1)
	}
	if next != nil {
		next.open.Add(1)
	}
	return next
}

// tally counts by label, a bounded number of them, which come from the configuration.
type tally struct {
	mu  sync.RWMutex // guards all
	all map[string]*use
}

func (t *tally) get(label string) *use {
	t.mu.RLock()
	u := t.all[label]
	t.mu.RUnlock()
	if u != nil {
		return u
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.all[label]; u != nil {
		return u
	}
	if len(t.all) >= mostUses {
		label = otherUses
		if u := t.all[label]; u != nil {
			return u
		}
	}
	if t.all == nil {
		t.all = map[string]*use{}
	}
	u = &use{label: label}
	t.all[label] = u
	return u
}

// look returns a use if there is one.
func (t *tally) look(label string) *use {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.all[label]
}

// list returns all, by label.
func (t *tally) list() []*use {
	t.mu.RLock()
	out := make([]*use, 0, len(t.all))
	for _, u := range t.all {
		out = append(out, u)
	}
	t.mu.RUnlock()
	slices.SortFunc(out, func(a, b *use) int { return strings.Compare(a.label, b.label) })
	return out
}

// prune forgets those that have left the configuration, once there are so many that others might not be counted by themselves.
func (t *tally) prune(known func() map[string]bool) {
	t.mu.RLock()
	n := len(t.all)
	t.mu.RUnlock()
	if n <= mostUses/2 {
		return
	}
	keep := known()
	t.mu.Lock()
	defer t.mu.Unlock()
	for label, u := range t.all {
		if label != otherUses && label != anyName && !keep[label] && u.open.Load() == 0 {
			delete(t.all, label)
		}
	}
}
