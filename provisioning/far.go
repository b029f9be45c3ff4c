package provisioning

import (
	"context"
	"errors"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
)

// far bounds how many workers may be away, with webhooks and hubs elsewhere: one that hangs must not hold up devices that need neither,
// nor those that need another. A registration for which there is no room is parked, and goes back to the queue when somebody returns.
type far struct {
	most       int // away at once
	mostWith   int // with one of them
	mostParked int // so that there are places for others
	queue      chan<- job

	mu     sync.Mutex // guards the fields below
	away   int
	count  int              // parked
	with   map[string]int   // by host
	parked map[string][]job // by host, oldest first; each has its place
}

func newFar(workers int, queue chan<- job) *far {
	return &far{
		most: max(workers-2, 1), mostWith: max(workers/2, 1), mostParked: cap(queue) / 2, queue: queue, with: map[string]int{}, parked: map[string][]job{},
	}
}

// full is in the chain when there is no room for a call of a host.
type full struct{ host string }

func (f *full) Error() string { return "enough workers are away" }

func (f *far) room(host string) bool { return f.away < f.most && f.with[host] < f.mostWith }

// leave makes room for a call of a host; back ends it. Unavailable, because of full, when there is none.
func (f *far) leave(host string) (back func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.room(host) {
		return nil, fault.New("provisioning.far", fault.Unavailable, "other registrations wait for the same webhook or hub").Because(&full{host})
	}
	f.away++
	f.with[host]++
	return func() { f.back(host) }, nil
}

func (f *far) back(host string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away--
	if f.with[host]--; f.with[host] == 0 {
		delete(f.with, host)
	}
	if len(f.parked[host]) > 0 {
		f.goOn(host)
		return
	}
	for other := range f.parked {
		if f.room(other) {
			f.goOn(other)
			return
		}
	}
}

// goOn gives the oldest of those that wait for a host back to the workers. It is called with the lock held, as room is.
func (f *far) goOn(host string) {
	list := f.parked[host]
	f.queue <- list[0] // never waits, see Service.Register
	f.count--
	if len(list) == 1 {
		delete(f.parked, host)
		return
	}
	f.parked[host] = list[1:]
}

// park keeps a registration until there is room, which there may be by now; false when too many are kept.
func (f *far) park(host string, j job) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count >= f.mostParked {
		return false
	}
	f.count++
	f.parked[host] = append(f.parked[host], j)
	if f.room(host) {
		f.goOn(host)
	}
	return true
}

// parks tells whether the error says that there was no room, and whether the registration is parked then. One that is not is taken up again
// when its device asks.
func (f *far) parks(err error, j job) (no, parked bool) {
	if full, ok := errors.AsType[*full](err); ok {
		return true, f.park(full.host, j)
	}
	return false, false
}

// farHub is a hub elsewhere within these bounds.
type farHub struct {
	Hub
	far  *far
	host string
}

// Assign implements Hub.
func (h *farHub) Assign(ctx context.Context, d Device, t Twin, mode Mode) (Keys, error) {
	back, err := h.far.leave(h.host)
	if err != nil {
		return Keys{}, err
	}
	defer back()
	return h.Hub.Assign(ctx, d, t, mode)
}

// Twin implements Hub.
func (h *farHub) Twin(ctx context.Context, device string) (Twin, error) {
	back, err := h.far.leave(h.host)
	if err != nil {
		return Twin{}, err
	}
	defer back()
	return h.Hub.Twin(ctx, device)
}
