package simulate

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/connection"
)

// connect opens a member's connection; a dialler calls it.
func (m *member) connect(ctx context.Context) {
	f := m.fleet
	began := f.clock.Now()
	hello, ends, err := f.method.Hello(m.id)
	var c *connection.Conn
	if err == nil {
		way := f.way
		if hello.Host != "" {
			way = f.others.to(hello.Host)
		}
		c, err = way.Open(ctx, hello, (*session)(m))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := f.clock.Now()
	if err != nil {
		m.failed(ctx, now, err)
		m.plan()
		return
	}
	f.stats.connects.Add(1)
	f.stats.connect.record(m.index, now.Sub(began))
	if m.early == c {
		m.early = nil
		m.broken(now, notOurs, nil)
		m.plan()
		return
	}
	m.enter(c, now, ends)
	if f.closing.Load() {
		m.ending = atEnd
		c.Close() // whoever closes the others did not see this one
	}
	m.plan()
}

// enter makes a member online. The lock is held.
func (m *member) enter(c *connection.Conn, now, ends time.Time) {
	f := m.fleet
	m.state, m.conn, m.ending = online, c, notOurs
	m.written, m.choked, m.later, m.pinged, m.lastWrite = false, false, time.Time{}, time.Time{}, now
	m.failing = time.Time{}
	m.backoff.Reset()
	m.renewBefore(ends, now)
	f.stats.online.Add(1)
	if m.away.IsZero() {
		f.stats.begun.Add(1)
		m.due = now.Add(time.Duration(chance{}.Int64N(int64(m.pauses[0])))) // or all would send at once
	} else {
		f.stats.reconnect.record(m.index, now.Sub(m.away))
	}
	m.away = now
}

// failed plans the next attempt, or none. The lock is held.
func (m *member) failed(ctx context.Context, now time.Time, err error) {
	f := m.fleet
	m.state = offline
	if ctx.Err() != nil {
		m.retry = now.Add(time.Hour) // the run is ending
		return
	}
	f.stats.failedConnects.Add(1)
	f.trouble(m, err)
	if m.failing.IsZero() {
		m.failing = now
	}
	switch kind := fault.KindOf(err); {
	case kind == fault.Unauthenticated, kind == fault.Invalid:
		m.state = over
		m.drop()
		m.conclude(&f.stats.refused)
	case f.settings.GiveUp > 0 && now.Sub(m.failing) >= f.settings.GiveUp:
		m.state = over
		m.drop()
		m.conclude(&f.stats.gone)
	default:
		m.retry = now.Add(m.backoff.Next())
		if last := m.failing.Add(f.settings.GiveUp); f.settings.GiveUp > 0 && m.retry.After(last) {
			m.retry = last
		}
	}
}

// broken makes a member offline and plans when it comes back. The lock is held.
func (m *member) broken(now time.Time, why ending, err error) {
	f := m.fleet
	m.state, m.conn, m.away = offline, nil, now
	m.retry = now
	switch why {
	case byStorm:
		f.stats.stormed.Add(1)
	case forToken:
		f.stats.renewed.Add(1)
	case atEnd:
	default:
		if m.closed(err) {
			return
		}
		f.stats.cutOff.Add(1)
		if err != nil {
			f.trouble(m, err)
		}
		m.retry = now.Add(m.backoff.Next())
	}
}

// closed does what a hub means that ends a connection for a reason: HTTPS says only then that it does not let a device in, and closes what
// is not used. It returns false for all other ends. The lock is held.
func (m *member) closed(err error) bool {
	f := m.fleet
	switch {
	case errors.Is(err, connection.ErrIdle):
		if m.retry = m.due; m.waiting == nil && !m.more() {
			m.state = over // nothing to come back for
		}
		if now := f.clock.Now(); !m.retry.After(now) {
			m.retry = now.Add(m.backoff.Next())
		}
		m.away = m.retry // it is not missed before
		return true
	case fault.KindOf(err) == fault.Unauthenticated:
		f.stats.cutOff.Add(1)
		f.trouble(m, err)
		m.state = over
		m.drop() // nobody is to wait for it
		m.conclude(&f.stats.refused)
		return true
	}
	return false
}

// newBackoff spaces attempts: thousands come back after the same failure.
func newBackoff() backoff.Backoff { return backoff.Backoff{Base: time.Second, Max: 30 * time.Second} }

// session is what a member's connection tells.
type session member

// Acknowledged ends the wait of a message.
func (s *session) Acknowledged(c *connection.Conn, id uint16) {
	m, f := (*member)(s), s.fleet
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != c || m.waiting == nil || !m.written || id != m.packetID {
		return
	}
	now := f.clock.Now()
	m.backoff.Reset()
	if m.acked < m.number {
		m.acked = m.number
		f.stats.acknowledge.record(m.index, now.Sub(m.first))
		f.stats.acknowledged.Add(1)
		f.stats.bytes.Add(int64(len(m.waiting.body)))
	}
	if n := f.settings.DuplicateEvery; n > 0 && !f.stopping.Load() && (chance{}).Int64N(int64(n)) == 0 {
		m.again, m.written = true, false
		m.plan()
		return
	}
	m.drop()
	pause := m.pauses[(m.number-1)%uint64(len(m.pauses))]
	m.due = m.due.Add(pause)
	if now.Sub(m.due) > mostBehind*pause {
		m.due = now
	}
	if n := f.settings.MessageCount; n > 0 && m.number >= uint64(n) {
		m.conclude(&f.stats.finished)
	}
	m.plan()
}

// Refused has a message sent again later, or given up.
func (s *session) Refused(c *connection.Conn, id uint16, err error, again bool) {
	m, f := (*member)(s), s.fleet
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != c || m.waiting == nil || !m.written || id != m.packetID {
		return
	}
	if !again {
		m.spoiled(err)
		m.plan()
		return
	}
	f.trouble(m, err)
	f.stats.deferred.Add(1)
	m.written, m.later = false, f.clock.Now().Add(m.backoff.Next())
	m.plan()
}

// Ready ends the wait for leave to write.
func (s *session) Ready(c *connection.Conn) {
	m := (*member)(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn == c && m.choked {
		m.choked = false
		m.plan()
	}
}

// Renewed plans the token after the next.
func (s *session) Renewed(c *connection.Conn) {
	m := (*member)(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn == c {
		m.fleet.stats.renewed.Add(1)
		m.renewBefore(m.ends, m.fleet.clock.Now())
		m.plan()
	}
}

// Ended makes the member connect again.
func (s *session) Ended(c *connection.Conn, err error) {
	m := (*member)(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != c {
		m.early = c
		return
	}
	m.fleet.stats.online.Add(-1)
	m.broken(m.fleet.clock.Now(), m.ending, err)
	m.plan()
}
