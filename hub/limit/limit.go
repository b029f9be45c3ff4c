package limit

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Limiter is the allowances of one process.
type Limiter struct {
	tenantRates [classes]pace
	start       time.Time

	mu      sync.Mutex // guards the field below
	tenants map[string]*tenant
}

type tenant struct {
	buckets [classes]bucket
	crowds  [classes]crowd // its hubs
}

// New returns a limiter in which nothing was used. Each tenant gets the rates given; now is when it begins.
func New(tenants Rates, now time.Time) *Limiter {
	l := &Limiter{start: now, tenants: map[string]*tenant{}}
	for i, r := range tenants {
		l.tenantRates[i] = paceOf(r)
	}
	return l
}

// Hub returns the allowances of a hub, which are its own, of a tenant, which are those of all the tenant's hubs.
func (l *Limiter) Hub(name string, limits Limits) *Hub {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenants[name]
	if t == nil {
		t = &tenant{}
		l.tenants[name] = t
	}
	h := &Hub{limiter: l, tenant: t, seed: maphash.MakeSeed()}
	for i := range h.shards {
		h.shards[i].known = map[string]*Holder{}
	}
	h.Set(limits)
	return h
}

// Hub is the allowances of one hub and of its devices.
type Hub struct {
	limiter *Limiter
	tenant  *tenant
	seed    maphash.Seed
	paces   atomic.Pointer[paces]
	buckets [classes]bucket
	crowds  [classes]crowd  // its devices
	of      [classes]member // of its tenant
	refused [levels][classes]atomic.Int64
	delayed [classes]atomic.Int64 // nanoseconds
	others  Holder                // of all names for which there was no room
	shards  [shards]shard
}

type paces struct {
	limits      Limits
	device, hub [classes]pace
}

// Set changes the limits. What was used stays used.
func (h *Hub) Set(l Limits) {
	p := &paces{limits: l}
	for i := range classes {
		p.device[i], p.hub[i] = paceOf(l.Device[i]), paceOf(l.Hub[i])
	}
	h.paces.Store(p)
}

// Limits returns those that hold now.
func (h *Hub) Limits() Limits { return h.paces.Load().limits }

// Verdict is the answer to Take. The zero value is: admitted.
type Verdict struct {
	Wait  time.Duration // until it would be admitted, if nobody else came
	Level Level         // whose allowance is used up
}

// Take takes cost units for a holder, or, when d is nil, for nobody in particular. What is refused is not counted. It allocates
// nothing unless it refuses.
func (h *Hub) Take(d *Holder, c Class, cost int, now time.Time) Verdict {
	at := int64(now.Sub(h.limiter.start))
	p := h.paces.Load()
	own, hub, tenant := p.device[c], p.hub[c], h.limiter.tenantRates[c]
	var ofDevice, ofHub int64
	if d != nil && own.unit > 0 {
		ofDevice = own.cost(cost, own.depth)
		if wait := d.buckets[c].take(at, ofDevice, own.depth); wait > 0 {
			return h.refuse(d, c, Device, at, wait)
		}
	}
	// Quarters of the buckets above that are not for this one.
	var device, all int64
	pressed := h.buckets[c].pressed(at, hub) || h.tenant.buckets[c].pressed(at, tenant)
	if pressed && d != nil && d.of[c].share.greedy(at, shortest(hub, tenant)) {
		device = 1
	}
	if pressed && h.of[c].share.greedy(at, tenant.patience()) {
		all = 1
	}
	if hub.unit > 0 {
		depth := hub.without(2 * device)
		ofHub = hub.cost(cost, depth)
		if wait := h.buckets[c].take(at, ofHub, depth); wait > 0 {
			giveBack(d, c, ofDevice)
			return h.refuse(d, c, OfHub, at, wait)
		}
	}
	if tenant.unit > 0 {
		depth := tenant.without(device + all)
		if wait := h.tenant.buckets[c].take(at, tenant.cost(cost, depth), depth); wait > 0 {
			giveBack(d, c, ofDevice)
			h.buckets[c].back(ofHub)
			return h.refuse(d, c, Tenant, at, wait)
		}
	}
	if pressed {
		h.charge(d, c, cost, at, hub.unit, tenant.unit)
	}
	return Verdict{}
}

// shortest is the patience of those of the two that are limited.
func shortest(a, b pace) int64 {
	if a.unit == 0 || b.unit > 0 && b.depth < a.depth {
		return b.patience()
	}
	return a.patience()
}

// charge keeps account of who got how much of what everybody shares.
func (h *Hub) charge(d *Holder, c Class, cost int, at int64, hub, tenant float64) {
	// A fair share is a little less than what there is, so that the half for the calm fills again while everybody takes all of it.
	const spare = 1.25
	units := spare * float64(max(cost, 1))
	// What one unit takes to come back, for each of those who are here.
	tenant *= h.tenant.crowds[c].join(&h.of[c].visit, at)
	h.of[c].share.charge(at, units*tenant)
	if d != nil {
		d.of[c].share.charge(at, units*max(hub, tenant)*h.crowds[c].join(&d.of[c].visit, at))
	}
}

func giveBack(d *Holder, c Class, cost int64) {
	if d != nil {
		d.buckets[c].back(cost)
	}
}

// without is the depth of a bucket of which so many quarters are left to others.
func (p pace) without(quarters int64) int64 { return max(1, p.depth/4*(4-quarters)) }

// cost is what so many units take to come back; nothing takes longer than all there may be.
func (p pace) cost(units int, depth int64) int64 {
	return int64(min(math.Ceil(p.unit*float64(max(units, 1))), float64(depth)))
}

func (h *Hub) refuse(d *Holder, c Class, l Level, at, wait int64) Verdict {
	h.refused[l][c].Add(1)
	if d != nil {
		d.note(c, l, at)
	}
	return Verdict{time.Duration(wait), l}
}

// Delayed notes that somebody was held back for so long instead of being refused.
func (h *Hub) Delayed(c Class, d time.Duration) { h.delayed[c].Add(int64(d)) }

// Count is what was refused or held back of one class at one level since the hub is served.
type Count struct {
	Class   Class
	Level   Level
	Refused int64
}

// Counts returns what was refused, without what never was. One who is held back is counted each time it was too early.
func (h *Hub) Counts() []Count {
	var out []Count
	for l := Device; int(l) < levels; l++ {
		for c := range classes {
			if n := h.refused[l][c].Load(); n > 0 {
				out = append(out, Count{Class(c), l, n})
			}
		}
	}
	return out
}

// DelayedFor returns for how long devices were held back, all together.
func (h *Hub) DelayedFor(c Class) time.Duration { return time.Duration(h.delayed[c].Load()) }

// Used returns how much of the hub's allowance is gone now, from 0 to 1.
func (h *Hub) Used(c Class, now time.Time) float64 {
	p := h.paces.Load().hub[c]
	if p.unit == 0 {
		return 0
	}
	return min(1, float64(h.buckets[c].used(int64(now.Sub(h.limiter.start))))/float64(p.depth))
}
