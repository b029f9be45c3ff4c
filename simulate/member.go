package simulate

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/connection"
	"github.com/isthmus-io/isthmus/simulate/message"
	"github.com/isthmus-io/isthmus/simulate/schedule"
	"github.com/isthmus-io/isthmus/simulate/verify"
)

// state is where a member stands.
type state uint8

const (
	offline    state = iota // it connects when it is due
	connecting              // a dialler has it
	online
	over // it will not connect again
)

// ending is why we end a connection ourselves.
type ending uint8

const (
	notOurs ending = iota
	byStorm
	forToken
	atEnd
)

const (
	// acknowledgeTimeout ends a connection whose hub takes a message and says nothing.
	acknowledgeTimeout = time.Minute
	// mostBehind is how many pauses a member makes up for after it was away.
	mostBehind = 10
)

// packet is a message between its first writing and its acknowledgement.
type packet struct{ bag, body []byte }

// member is one device of a fleet.
type member struct {
	schedule.Entry[*member]
	queued atomic.Bool // waits for a worker
	index  int
	id     string
	source *message.Source
	pauses []time.Duration
	fleet  *Fleet

	mu      sync.Mutex // guards the fields below
	state   state
	ending  ending
	conn    *connection.Conn
	early   *connection.Conn // one that ended before its dialler knew it
	backoff backoff.Backoff
	failing time.Time // since when it cannot connect; zero when it can
	retry   time.Time // when to connect
	away    time.Time // since when it is offline, for the histogram; zero before the first time
	renew   time.Time // when a new token is needed; zero for never
	ends    time.Time // of the token that the hub is asked to take

	number   uint64 // of the message last made
	acked    uint64
	packetID uint16
	waiting  *packet   // the message that is not acknowledged; nil for none
	written  bool      // it was written on this connection
	choked   bool      // the hub gives no leave to write it
	later    time.Time // when it may be written again, after the hub turned it down; zero for at once
	first    time.Time // when it was written first
	wrote    time.Time // when it was written last
	writes   int
	again    bool              // it is being repeated on purpose
	due      time.Time         // when the next message is
	repeated map[uint64]uint32 // how often more than once messages were written, for verification
	finished bool

	lastWrite time.Time
	pinged    time.Time // when an answer was last asked for; zero when none is awaited
}

// more tells whether there is another message to send. The lock is held.
func (m *member) more() bool {
	n := m.fleet.settings.MessageCount
	return !m.finished && !m.fleet.stopping.Load() && (n == 0 || m.number < uint64(n))
}

// step does what is due; a worker calls it.
func (m *member) step() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.fleet.clock.Now()
	switch m.state {
	case offline:
		if m.fleet.closing.Load() {
			return
		}
		if !now.Before(m.retry) {
			m.state = connecting
			m.fleet.dials <- m // it has room for every member, and each is in it once
			return
		}
	case online:
		m.act(now)
	}
	m.plan()
}

// act writes what is due on a connection. The lock is held.
func (m *member) act(now time.Time) {
	s := m.fleet.settings
	beat := m.conn.Beat()
	switch {
	case m.choked && now.Sub(m.wrote) >= acknowledgeTimeout:
		m.fleet.trouble(m, fault.New("simulate", fault.Timeout, "the hub gave no leave to send (link credit, AMQP 2.6.7) in time; the connection is given up"))
		m.wrote = now // said once
		m.conn.Cut()
	case m.waiting != nil && !m.written && !m.choked && !now.Before(m.later):
		m.write(now)
	case m.waiting != nil && m.written && now.Sub(m.wrote) >= acknowledgeTimeout:
		m.fleet.trouble(m, fault.New("simulate", fault.Timeout, "a message was not acknowledged in time; the connection is given up"))
		m.wrote = now // said once
		m.conn.Cut()
	case m.waiting == nil && !m.renew.IsZero() && !now.Before(m.renew):
		m.renewal(now)
	case m.waiting == nil && m.more() && !now.Before(m.due):
		m.make(now)
	case !m.pinged.IsZero() && !m.conn.Heard().Before(m.pinged):
		m.pinged = time.Time{}
	case !m.pinged.IsZero() && now.Sub(m.pinged) >= s.KeepAlive/2:
		m.fleet.trouble(m, fault.New("simulate", fault.Timeout, "the hub answers no more; the connection is given up"))
		m.pinged = now // said once
		m.conn.Cut()
	case beat > 0 && now.Sub(m.lastWrite) >= beat:
		if m.lastWrite = now; m.pinged.IsZero() {
			m.pinged = now
		}
		_ = m.conn.Ping() // what is wrong, the reader tells
	}
}

// plan sets when the member is woken next. The lock is held.
func (m *member) plan() {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	switch m.state {
	case offline:
		sooner(m.retry)
	case online:
		s := m.fleet.settings
		switch {
		case m.choked:
			sooner(m.wrote.Add(acknowledgeTimeout))
		case m.waiting != nil && !m.written && m.later.IsZero():
			sooner(time.Unix(0, 0))
		case m.waiting != nil && !m.written:
			sooner(m.later)
		case m.waiting != nil:
			sooner(m.wrote.Add(acknowledgeTimeout))
		default:
			if !m.renew.IsZero() {
				sooner(m.renew)
			}
			if m.more() {
				sooner(m.due)
			}
		}
		if beat := m.conn.Beat(); beat > 0 {
			sooner(m.lastWrite.Add(beat))
		}
		if !m.pinged.IsZero() {
			sooner(m.pinged.Add(s.KeepAlive / 2))
		}
	default:
	}
	if at.IsZero() { // whatever comes next, the connection tells
		m.fleet.schedule.Clear(&m.Entry)
		return
	}
	m.fleet.schedule.Set(&m.Entry, at)
}

// made tells, of a fleet that is stopping, that the member is not about to send a message which is not counted yet.
func (m *member) made() bool {
	if !m.mu.TryLock() {
		return false
	}
	m.mu.Unlock()
	return true
}

// make makes the next message and writes it. The lock is held.
func (m *member) make(now time.Time) {
	p := m.fleet.packets.Get().(*packet)
	var err error
	p.bag, p.body, err = m.source.Next(now, chance{}, p.bag[:0], p.body[:0])
	if err == nil && len(p.body) > message.MaxSize {
		err = fault.Newf("simulate", fault.TooLarge, "Template: a body became %d bytes long, a hub takes %d", len(p.body), message.MaxSize)
	}
	if err != nil {
		m.fleet.trouble(m, err)
		m.fleet.packets.Put(p)
		m.conclude(&m.fleet.stats.gone)
		return
	}
	m.number++
	if m.fleet.settings.Verify {
		p.bag = message.AppendProperty(p.bag, verify.RunProperty, m.fleet.run)
		var text [20]byte
		p.bag = message.AppendProperty(p.bag, verify.NumberProperty, string(strconv.AppendUint(text[:0], m.number, 10)))
	}
	m.waiting, m.first, m.written, m.writes, m.again = p, now, false, 0, false
	m.choked, m.later = false, time.Time{}
	m.fleet.stats.sent.Add(1)
	m.fleet.stats.inFlight.Add(1)
	m.write(now)
}

// write writes the waiting message, for the first time or again. The lock is held.
func (m *member) write(now time.Time) {
	if m.packetID++; m.packetID == 0 { // MQTT-2.3.1-1
		m.packetID = 1
	}
	dup := m.writes > 0 && !m.again
	m.wrote = now
	err := m.conn.Publish(m.id, m.waiting.bag, m.waiting.body, m.packetID, dup)
	if m.choked = errors.Is(err, connection.ErrNotNow); m.choked { // the sink is told when it can be
		return
	}
	m.written, m.lastWrite = true, now
	if m.writes++; m.writes > 1 {
		m.repeat()
	}
	switch {
	case m.again:
		m.fleet.stats.duplicated.Add(1)
	case dup:
		m.fleet.stats.resent.Add(1)
	}
	if kind := fault.KindOf(err); err != nil && (kind == fault.TooLarge || kind == fault.Invalid) {
		m.spoiled(err)
	}
}

// spoiled lets a message go that nobody will take, and with it the member's part: what comes after would not be in order. The lock is held.
func (m *member) spoiled(err error) {
	m.fleet.trouble(m, err)
	m.drop()
	m.conclude(&m.fleet.stats.gone)
}

// renewal gets the hub a new token: on the connection where that is possible, otherwise with another one. The lock is held.
func (m *member) renewal(now time.Time) {
	if !m.conn.Renews() {
		m.ending = forToken
		m.conn.Close()
		return
	}
	hello, ends, err := m.fleet.method.Hello(m.id)
	if err != nil {
		m.fleet.trouble(m, err)
		m.renew = now.Add(renewAgain)
		return
	}
	done, err := m.conn.Renew(hello.Token)
	switch {
	case errors.Is(err, connection.ErrNotNow):
		m.renew = now.Add(renewAgain)
	case done:
		m.fleet.stats.renewed.Add(1)
		m.renewBefore(ends, now)
	default: // the hub answers, or ends the connection
		m.renew, m.ends, m.lastWrite = time.Time{}, ends, now
	}
}

// renewAgain is the pause before another attempt.
const renewAgain = 5 * time.Second

// renewBefore plans when a new token is needed: not all at the same time, and well before the hub ends the old one. The lock is held.
func (m *member) renewBefore(ends, now time.Time) {
	if m.renew = (time.Time{}); ends.IsZero() {
		return
	}
	life := ends.Sub(now)
	m.renew = now.Add(life*17/20 - time.Duration(chance{}.Int64N(int64(life/10)+1)))
}

// repeat notes that the waiting message is written more than once. The lock is held.
func (m *member) repeat() {
	if !m.fleet.settings.Verify {
		return // it would be held for nobody
	}
	if m.repeated == nil {
		m.repeated = map[uint64]uint32{}
	}
	m.repeated[m.number]++
}

// drop lets the waiting message go. The lock is held.
func (m *member) drop() {
	if m.waiting == nil {
		return
	}
	if cap(m.waiting.body) <= keptBody {
		m.fleet.packets.Put(m.waiting)
	}
	m.waiting = nil
	m.fleet.stats.inFlight.Add(-1)
}

// keptBody is the largest body whose memory is used again.
const keptBody = 32 << 10

// conclude ends a member's part in the run; its connection stays until the run ends. The lock is held.
func (m *member) conclude(counter *atomic.Int64) {
	if m.finished {
		return
	}
	m.finished = true
	counter.Add(1)
	m.fleet.concluded()
}

// chance draws from the runtime's generators, one a thread.
type chance struct{}

func (chance) Int64N(n int64) int64 { return rand.Int64N(n) } //nolint:gosec // values of telemetry
func (chance) Float64() float64     { return rand.Float64() } //nolint:gosec // values of telemetry
func (chance) Uint64() uint64       { return rand.Uint64() }  //nolint:gosec // values of telemetry
