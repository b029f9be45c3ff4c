package hub

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Twin is an identity with its documents.
type Twin struct {
	Device
	Model    string
	Commands int // messages that wait for it
	twin.Document
}

// ETag is the twin's, which changes with what services write; that of the identity is Device.ETag.
func (t Twin) ETag() string { return t.Document.ETag() }

// Twin reads the twin of a device or a module. NotFound when there is none: DeviceNotFound, also for a module.
func (h *Hub) Twin(ctx context.Context, n Name) (Twin, error) {
	d, err := h.Identity(ctx, n)
	if err != nil {
		return Twin{}, noTwin(err)
	}
	t, err := h.server.store.Twin(ctx, h.id, n)
	if err != nil {
		return Twin{}, noTwin(err)
	}
	waiting, err := h.Depth(ctx, n)
	return Twin{Device: d, Model: t.Model, Commands: waiting, Document: t.Document}, err
}

// noTwin gives a missing module the name that twins have for it.
func noTwin(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		err = code.With(err, code.DeviceNotFound)
	}
	return err
}

// PatchTwin merges what a service sends, {"tags":{..},"properties":{"desired":{..}}}, into a twin: null takes away, arrays are replaced.
// ifMatch is the etag the twin must have, or AnyETag or nothing. The device is told when it listens. Faults: Invalid with words for the
// key that is wrong, or for a part that would be too large; Precondition; NotFound.
func (h *Hub) PatchTwin(ctx context.Context, n Name, body []byte, ifMatch string) (Twin, error) {
	c, err := twin.ReadPatch(body)
	if err != nil {
		return Twin{}, badTwin(err)
	}
	return h.changeTwin(ctx, n, c, ifMatch)
}

// ReplaceTwin puts what a service sends in place of the tags, the desired properties or both; a part it does not name stays. The rest is
// as with PatchTwin.
func (h *Hub) ReplaceTwin(ctx context.Context, n Name, body []byte, ifMatch string) (Twin, error) {
	c, err := twin.ReadReplacement(body)
	if err != nil {
		return Twin{}, badTwin(err)
	}
	return h.changeTwin(ctx, n, c, ifMatch)
}

// FirstTwin reads the twin that a new identity is to have, as the whole JSON of a twin from elsewhere or a part of it: for Change.Twin.
// Those who listen to the registry are told of it, and the device when it was there and listens.
func (h *Hub) FirstTwin(body []byte) (func(tx *hubstore.Tx, d hubstore.Device) error, error) {
	c, err := twin.ReadWhole(body)
	if err != nil {
		return nil, badTwin(err)
	}
	return func(tx *hubstore.Tx, d hubstore.Device) error {
		_, _, err := h.writeTwin(tx, d.Name(), c, "", h.server.clock.Now())
		return err
	}, nil
}

// tellDesired gives a device that listens all its desired properties as they are now, after they were replaced with its identity.
func (h *Hub) tellDesired(ctx context.Context, n Name) {
	s := h.session(n)
	if s == nil || !s.Listening(DesiredProperties) {
		return
	}
	t, err := h.server.store.Twin(ctx, h.id, n)
	if err != nil {
		return // it is gone, or is read when the device connects again
	}
	s.give(DesiredProperties, func(r Receiver) { r.DesiredChanged(t.Desired.Version, t.WholeDesired()) })
}

// badTwin gives what is wrong with a change the one code that SDKs expect of it, whether it is its form or its size.
func badTwin(err error) error {
	if k := fault.KindOf(err); k == fault.Invalid || k == fault.TooLarge {
		err = code.With(err, code.ArgumentInvalid)
	}
	return err
}

func (h *Hub) changeTwin(ctx context.Context, n Name, c twin.Change, ifMatch string) (Twin, error) {
	if err := validName(n); err != nil {
		return Twin{}, err
	}
	var d hubstore.Device
	var after hubstore.Twin
	now := h.server.clock.Now()
	err := h.server.store.Together(ctx, func(tx *hubstore.Tx) (err error) {
		if d, err = tx.Device(h.id, n); err != nil {
			return err
		}
		_, after, err = h.writeTwin(tx, n, c, ifMatch, now)
		return err
	}, func() { h.twinChanged(d.Name(), c, after, now) })
	if err != nil {
		return Twin{}, noTwin(err)
	}
	waiting, err := h.Depth(ctx, n)
	return Twin{Device: h.live(d), Model: after.Model, Commands: waiting, Document: after.Document}, err
}

func (h *Hub) writeTwin(tx *hubstore.Tx, n Name, c twin.Change, ifMatch string, now time.Time) (before, after hubstore.Twin, err error) {
	if before, err = tx.Twin(h.id, n); err != nil {
		return before, after, err
	}
	if !matchesETag(ifMatch, before.ETag()) {
		return before, after, fault.Newf("hub.PatchTwin", fault.Precondition, "the twin of %s was changed meanwhile: its etag is %s", n.Words(), before.ETag()).
			Advise("read it again, then repeat the change")
	}
	after, err = apply(&twin.Merger{}, before, c, now)
	if err != nil || after == before {
		return before, after, err
	}
	return before, after, tx.SetTwin(before, after)
}

func apply(m *twin.Merger, before hubstore.Twin, c twin.Change, now time.Time) (after hubstore.Twin, err error) {
	after = before
	after.Document, err = m.With(before.Document, c, now)
	if err != nil {
		return before, badTwin(err)
	}
	if after != before {
		after.Changed = now
	}
	return after, nil
}

// matchesETag compares an If-Match in any of the forms SDKs send: with quotes, without, or a star.
func matchesETag(ifMatch, etag string) bool {
	ifMatch = strings.Trim(ifMatch, `"`)
	return ifMatch == "" || ifMatch == AnyETag || ifMatch == etag
}

// twinChanged tells the device and the routes of a change that is durable. It is called in the order of the changes.
func (h *Hub) twinChanged(n Name, c twin.Change, after hubstore.Twin, now time.Time) {
	if c.Empty() {
		return
	}
	if patch := c.Notification(after.Document); patch != nil {
		if s := h.session(n); s != nil {
			s.give(DesiredProperties, func(r Receiver) { r.DesiredChanged(after.Desired.Version, json.RawMessage(patch)) })
		}
	}
	h.twinEvent(n, c, after, now)
}

// Twin returns what the device sees of its twin: {"desired":{..,"$version":n},"reported":{..,"$version":n}}.
func (s *Session) Twin(ctx context.Context) ([]byte, error) {
	h := s.hub
	s.last.Store(h.server.clock.Now().UnixNano())
	t, err := h.server.store.Twin(ctx, h.id, s.Name())
	if err != nil {
		return nil, noTwin(err)
	}
	return t.ForDevice(), nil
}
