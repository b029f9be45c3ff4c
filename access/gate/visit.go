package gate

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/access/gate/share"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// A visit is one stream that was admitted. It is listed from before its target is dialled, so that a cut finds it in every state.
type visit struct {
	id     string
	peer   identity.ID
	stream *mux.Stream
	from   netip.AddrPort
	opened instant
	meter  *meter
	ctx    context.Context //nolint:containedctx // ends when the visit is cut
	cancel context.CancelFunc

	mu      sync.Mutex // guards the fields below
	entry   entry      // as the plan has it now
	anchor  anchor
	until   time.Time // when the grant has to be asked again
	link    link      // nil while the target is dialled
	metered bool
	end     session.End // of a visit that was cut
	words   string
	moved   uint64        // bytes, both ways
	still   time.Duration // since when they have been as many
	look    time.Duration // when they are looked at next

	sent, received uint64 // in the totals
}

// link is what passes the bytes of a visit on.
type link interface {
	Cut(code tunnel.ResetCode, words string)
	Passed() (sent, received uint64)
	SetMeter(m flow.Meter)
}

// meter is a visit's member of the room in which bytes are shared, with a clock.
type meter struct {
	member *share.Member
	gate   *Gate
}

// Take asks for bytes, as a flow.Meter does.
func (m *meter) Take(want int) (int, time.Duration) { return m.member.Take(m.gate.elapsed(), want) }

// limits returns the meter, or nil when nothing limits the visit.
func (m *meter) limits(l resource.SessionLimits) flow.Meter {
	if m.gate.cfg.BytesPerSecond <= 0 && l.BytesPerSecond <= 0 {
		return nil
	}
	return m
}

// cut ends the visit at once, whatever it is doing; only the first call counts.
func (v *visit) cut(end session.End, words string) bool {
	v.mu.Lock()
	if v.end != "" {
		v.mu.Unlock()
		return false
	}
	v.end, v.words = end, words
	link := v.link
	v.mu.Unlock()
	v.cancel()
	if link != nil {
		link.Cut(codeOf(end), words)
	} else {
		v.stream.Reset(codeOf(end), words)
	}
	return true
}

func codeOf(end session.End) tunnel.ResetCode {
	switch end {
	case session.EndExpired, session.EndRevoked:
		return tunnel.ResetRevoked
	case session.EndIdle, session.EndTotal:
		return tunnel.ResetTimeout
	case session.EndStopping:
		return tunnel.ResetShuttingDown
	default:
		return tunnel.ResetPeer
	}
}

// attach gives the visit what passes its bytes on, or cuts that when the visit was cut meanwhile.
func (v *visit) attach(l link, metered bool, now instant) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.end != "" {
		l.Cut(codeOf(v.end), v.words)
		return false
	}
	v.link, v.metered, v.still, v.look = l, metered, now.mono, now.mono
	v.limit(v.entry.target.Limits) // which may have changed meanwhile
	return true
}

// why returns how the visit was cut; the end is empty when it was not.
func (v *visit) why() (session.End, string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.end, v.words
}

// now returns the grant and the target as the plan has them now.
func (v *visit) now() (*plan.Target, *plan.Grant) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.entry.target, v.entry.grant
}

// reopen asks the grant until when it holds. It is called with mu held.
func (v *visit) reopen(now instant) (end session.End, words string) {
	at := v.anchor.at(now)
	until, ok := v.entry.grant.Open(at)
	if !ok {
		return session.EndExpired, notOpen(v.entry.grant, at)
	}
	v.until = until
	return "", ""
}

// adopt takes over what a new plan says; it returns why the visit must end by it, if it must.
func (v *visit) adopt(r *rules, now instant) (end session.End, words string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	next, words := r.keep(v.entry)
	if words != "" {
		// A grant that has ended leaves the plan at the same moment as it ends here.
		if at := v.anchor.at(now); !at.Before(v.entry.grant.Until) {
			return session.EndExpired, notOpen(v.entry.grant, at)
		}
		return session.EndRevoked, words
	}
	was := v.entry
	v.entry = next
	if was.target.Limits != next.target.Limits {
		v.meter.member.SetOwn(next.target.Limits.BytesPerSecond)
		v.limit(next.target.Limits)
		v.still, v.look = now.mono, now.mono // nobody has looked before whether anything moves
	}
	if sameTimes(was.grant, next.grant) {
		return "", ""
	}
	return v.reopen(now)
}

// limit has the bytes metered, or not any more. It is called with mu held.
func (v *visit) limit(l resource.SessionLimits) {
	if m := v.meter.limits(l); v.link != nil && v.metered != (m != nil) {
		v.link.SetMeter(m)
		v.metered = m != nil
	}
}

// correct makes the visit count its time anew, by a clock that was corrected; it returns why it must end by it, if it must.
func (v *visit) correct(now instant) (end session.End, words string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.anchor = anchor(now)
	return v.reopen(now)
}

// due returns why the visit must end now, if it must, and otherwise how long it is until that has to be asked again.
func (v *visit) due(now instant) (end session.End, words string, again time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	again = time.Duration(1<<63 - 1)
	if v.end != "" {
		return "", "", again
	}
	at := v.anchor.at(now)
	if !at.Before(v.until) {
		if end, words := v.reopen(now); end != "" {
			return end, words, 0
		}
	}
	again = v.until.Sub(at)
	limits := v.entry.target.Limits
	if total := limits.Total(); total > 0 {
		left := v.opened.mono + total - now.mono
		if left <= 0 {
			return session.EndTotal, "the session has lasted as long as the policy allows, " + total.String(), 0
		}
		again = min(again, left)
	}
	if idle := limits.Idle(); idle > 0 && v.link != nil {
		if now.mono >= v.look {
			sent, received := v.link.Passed()
			if sent+received != v.moved {
				v.moved, v.still = sent+received, now.mono
			}
			if now.mono-v.still >= idle {
				return session.EndIdle, "nothing moved for " + idle.String(), 0
			}
			v.look = min(now.mono+idle/8, v.still+idle)
		}
		again = min(again, v.look-now.mono)
	}
	return "", "", again
}

// progress returns by how much the totals have grown since it was last asked. They never shrink.
func (v *visit) progress() (sent, received uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.link == nil {
		return 0, 0
	}
	s, r := v.link.Passed()
	s, r = max(s, v.sent), max(r, v.received)
	sent, received = s-v.sent, r-v.received
	v.sent, v.received = s, r
	return sent, received
}

// info returns what a screen shows; ok is false for a visit that was cut.
func (v *visit) info() (i Info, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i = Info{
		Session: v.id, Grant: v.entry.grant.ID, Target: v.entry.target.Name, Person: v.entry.grant.Name, From: v.from,
		Since: v.opened.wall, Until: v.until, Recorded: v.entry.target.Record != nil,
	}
	if v.link != nil {
		i.Sent, i.Received = v.link.Passed()
	}
	return i, v.end == ""
}
