package partway

import (
	"slices"
	"sync"

	"github.com/isthmus-io/isthmus/bridge/event"
)

// Accounts is one account for each lane with an unfinished batch. The zero value works. Lanes use it concurrently.
type Accounts struct {
	mu    sync.Mutex
	lanes map[string]*Account
}

// Account is how far a batch has got. It is used by one goroutine at a time.
type Account struct {
	origins []event.Origin
	done    []bool
	refused map[int]error
	left    int
}

// Begin returns the account of a batch: the one that its last attempt left behind, if there is one.
func (a *Accounts) Begin(lane string, batch []*event.Event) *Account {
	a.mu.Lock()
	b := a.lanes[lane]
	delete(a.lanes, lane)
	a.mu.Unlock()
	if b != nil && slices.EqualFunc(b.origins, batch, func(o event.Origin, e *event.Event) bool { return o == e.Origin }) {
		return b
	}
	return &Account{done: make([]bool, len(batch)), left: len(batch)}
}

// End is what the destination's Write returns: err as it is, with the account kept if it got somewhere; else nil, or *event.Refused.
func (a *Accounts) End(lane string, batch []*event.Event, b *Account, err error) error {
	switch {
	case err != nil:
		if b.left == len(batch) {
			return err
		}
		if b.origins == nil {
			b.origins = make([]event.Origin, len(batch))
			for i, e := range batch {
				b.origins[i] = e.Origin
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.lanes == nil {
			a.lanes = map[string]*Account{}
		}
		a.lanes[lane] = b
		return err
	case len(b.refused) > 0:
		return &event.Refused{At: b.refused}
	}
	return nil
}

// Done tells whether nothing is left to do for an event, given by its index in the batch.
func (b *Account) Done(i int) bool { return b.done[i] }

// Take says that an event is durable.
func (b *Account) Take(i int) {
	if !b.done[i] {
		b.done[i] = true
		b.left--
	}
}

// Refuse says that an event never will be, and why.
func (b *Account) Refuse(i int, why error) {
	if b.done[i] {
		return
	}
	b.Take(i)
	if b.refused == nil {
		b.refused = map[int]error{}
	}
	b.refused[i] = why
}
