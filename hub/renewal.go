package hub

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/limit"
)

// proof is what the session stands on: the proof it began with, or that of its last renewal.
func (s *Session) proof() *Identity {
	if p := s.renewed.Load(); p != nil {
		return p
	}
	return &s.Identity
}

// Ends returns when the session's proof does; zero for one that the registry alone takes back.
func (s *Session) Ends() time.Time { return s.proof().Expires }

// Renew proves the session's identity again, and from then on the session stands on that: it lives as long as the new token does, and ends
// when the key that made it is replaced. It returns when the new proof ends. Faults are those of Prove; then the session stands on what
// it did before, unless that was taken back meanwhile.
func (s *Session) Renew(ctx context.Context, c Credentials) (ends time.Time, err error) {
	id, err := s.hub.Prove(ctx, s.Name(), c)
	if err != nil {
		return time.Time{}, err
	}
	before := s.renewed.Swap(&id)
	// A key that was replaced since it was checked above found the proof before to look at, so look again now that this one can be found.
	err = s.stands(ctx)
	if err == nil {
		return id.Expires, nil
	}
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Denied, fault.Unauthenticated:
		s.cut(KeyGone)
	default:
		s.renewed.CompareAndSwap(&id, before)
	}
	return time.Time{}, err
}

// TrySubmit is Submit for a door that must not wait for one of the devices of a connection: while the device has sent more than it may,
// nothing is sent, and wait is how long it is until the message would be admitted. It is 0 when the message is on its way.
func (s *Session) TrySubmit(body []byte, l *Labels, done func(eventlog.Position, error)) (wait time.Duration) {
	h := s.hub
	now := h.server.clock.Now()
	s.last.Store(now.UnixNano())
	if v := h.limits.Take(s.allowance, limit.Messages, meter(len(body)), now); v.Level != limit.None {
		return max(v.Wait, time.Microsecond)
	}
	h.send(DeviceMessages, s.Name(), body, l, done)
	return 0
}

// HeldBack notes for how long a door kept messages because of TrySubmit.
func (s *Session) HeldBack(d time.Duration) { s.hub.limits.Delayed(limit.Messages, d) }
