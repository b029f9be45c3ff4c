package share

import (
	"container/heap"
	"sync"
	"time"
)

// Bounds of how far ahead somebody may be.
const (
	moment    = 50 * time.Millisecond // of a rate, which may be owed
	late      = 2 * moment            // over which speeds are smoothed
	leastDebt = 4 << 10               // bytes: what may be owed at any rate
	leastWait = time.Millisecond
	mostWait  = time.Second // rates may have changed by then
)

// Room is a rate and those who share it.
type Room struct {
	mu      sync.Mutex // guards the fields below and all of Member
	rate    float64    // bytes a second; 0: no limit
	paid    float64    // bytes that a debtor who has been one all the time would have paid off
	speed   float64    // at which it has grown of late, in bytes a second
	at      time.Duration
	debtors debtors
}

// New returns a room for so many bytes a second; 0: only the members' own limits hold.
func New(bytesPerSecond int64) *Room {
	return &Room{rate: float64(max(bytesPerSecond, 0)), speed: float64(bytesPerSecond)}
}

// Member is one who takes bytes. It may be forgotten at any time.
type Member struct {
	room  *Room
	even  float64 // Room.paid at which the debt is paid off
	place int     // in debtors; -1: no debt

	own     float64 // rate; 0: no limit
	ownDebt float64
	ownAt   time.Duration
}

// Join returns a new member with a limit of its own in bytes a second; 0: none.
func (r *Room) Join(bytesPerSecond int64) *Member {
	return &Member{room: r, place: -1, own: float64(max(bytesPerSecond, 0))}
}

// SetOwn replaces the member's own limit.
func (m *Member) SetOwn(bytesPerSecond int64) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.own = float64(max(bytesPerSecond, 0))
	if m.own == 0 {
		m.ownDebt = 0
	}
}

// Take asks for want bytes, at least 1, at a time which does not go back. It returns how many may pass now, which count as passed; when it
// is none, how long it is until it is worth asking again.
func (m *Member) Take(now time.Duration, want int) (n int, wait time.Duration) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	may := float64(want)
	if m.own > 0 {
		m.ownDebt = max(0, m.ownDebt-m.own*max(0, now-m.ownAt).Seconds())
		m.ownAt = max(now, m.ownAt)
		may, wait = room(float64(want), m.ownDebt, m.own, m.own)
	}
	if r.rate > 0 {
		r.payOff(now)
		sharing := float64(len(r.debtors))
		if m.place < 0 {
			sharing++
		}
		most, w := room(float64(want), max(0, m.even-r.paid), r.rate/sharing, r.speed)
		may, wait = min(may, most), max(wait, w)
	}
	if wait > 0 {
		return 0, min(max(wait, leastWait), mostWait)
	}
	n = max(int(may), 1)
	if m.own > 0 {
		m.ownDebt += float64(n)
	}
	if r.rate > 0 {
		r.owe(m, float64(n))
	}
	return n, 0
}

// room returns how many of want bytes may pass on top of a debt, of which a moment's worth at the speed now may be owed, or how long it is
// until half of that may, as the debt has been paid off of late: smaller pieces cost more than they are worth, and a debt that is paid off
// before its owner comes back is a share lost.
func room(want, debt, now, before float64) (may float64, wait time.Duration) {
	most := max(now*moment.Seconds(), leastDebt)
	need := min(want, most/2)
	if free := most - debt; free < need {
		return 0, time.Duration((need - free) / before * float64(time.Second))
	}
	return min(want, most-debt), 0
}

// owe adds to a member's debt.
func (r *Room) owe(m *Member, n float64) {
	m.even = max(m.even, r.paid) + n
	if m.place < 0 {
		heap.Push(&r.debtors, m)
	} else {
		heap.Fix(&r.debtors, m.place)
	}
}

// payOff brings the debts up to the time: the rate, divided by those who have one, and anew whenever somebody has paid off his.
func (r *Room) payOff(now time.Duration) {
	whole := max(0, now-r.at).Seconds()
	r.at = max(now, r.at)
	grown, left := 0.0, whole
	for left > 0 && len(r.debtors) > 0 {
		speed := r.rate / float64(len(r.debtors))
		first := r.debtors[0]
		if until := (first.even - r.paid) / speed; until > left {
			r.paid += speed * left
			grown += speed * left
			left = 0
			break
		} else if until > 0 {
			left -= until
		}
		grown += max(0, first.even-r.paid)
		r.paid = max(r.paid, first.even)
		heap.Pop(&r.debtors)
	}
	if len(r.debtors) == 0 {
		r.paid = 0             // so that it stays exact
		grown += r.rate * left // who came alone would have it all
	}
	if whole > 0 {
		r.speed += (grown/whole - r.speed) * min(1, whole/late.Seconds())
	}
}

// debtors are ordered by who is even first.
type debtors []*Member

func (d debtors) Len() int           { return len(d) }
func (d debtors) Less(i, j int) bool { return d[i].even < d[j].even }
func (d debtors) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push and Pop are heap's.
func (d *debtors) Push(x any) {
	m := x.(*Member) //nolint:forcetypeassert // ours
	m.place = len(*d)
	*d = append(*d, m)
}

func (d *debtors) Pop() any {
	last := len(*d) - 1
	m := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	m.place, m.even = -1, 0
	return m
}
