package amqpdoor

import (
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// says is how a peer is told of a fault. Under the tracking id in it our log has the rest.
func (v *conversation) says(who string, err error) *amqp.Error {
	id := v.track(who, err)
	if h, ok := errors.AsType[*hidden](err); ok {
		err = h.told
	}
	k := code.Of(err)
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
	}
	return &amqp.Error{Condition: amqp.Symbol(k.Condition()), Description: text + ". Tracking ID: " + id}
}

// hidden is a fault that strangers are told in other words; the log has its own.
type hidden struct {
	error
	told error
}

func (h *hidden) Unwrap() error { return h.error }

// unproved is what somebody is told who has not proved that he is n, with a token of its own or with a certificate: the same whether the
// identity exists or not, and however it would have to prove itself.
func unproved(n hub.Name, err error, byCertificate bool) error {
	switch kind := fault.KindOf(err); {
	case err == nil:
		return nil
	case kind != fault.NotFound && kind != fault.Unauthenticated && (kind != fault.Expired || !byCertificate): // perhaps nobody we know signed it
		return err
	}
	if byCertificate {
		return &hidden{err, fault.Newf("amqpdoor.prove", fault.Unauthenticated, "the certificate does not prove that it is %s", n.Words()).
			Advise("the hub's log says why; isthmus hub refusals has it too")}
	}
	return &hidden{err, hub.WrongKey(n)}
}

// track notes a refusal under a new id.
func (v *conversation) track(who string, err error) string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	id := hex.EncodeToString(b)
	v.door.log.Debug("hub: a request over AMQP was refused", "hub", v.hub.Name(), "who", who, "trackingId", id, "code", code.Of(err).Number, "err", err)
	return id
}

// refuse turns a link away.
func (v *conversation) refuse(l *engine.Link, who string, err error) {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Internal: // not the peer's
	default:
		v.conn.Refuse(who, err)
	}
	l.Refuse(v.says(who, err))
}

// conditions are how the links of an identity end whose session the hub ended, where it is not the table's (IoT Hub: 409002, 401003).
var ends = map[hub.Cause]struct {
	code      code.Code
	condition amqp.Symbol // empty: that of the code
}{
	hub.TakenOver:      {code: code.LinkCreationConflict},
	hub.DeviceDisabled: {code: code.DeviceDisabled},
	hub.DeviceDeleted:  {code: code.DeviceNotFound},
	hub.LinkClosed:     {code: code.UnauthorizedAccess},
	hub.PublicClosed:   {code: code.UnauthorizedAccess},
	hub.HubGone:        {code: code.ServiceUnavailable, condition: amqp.ConditionDetachForced},
	hub.TokenExpired:   {code: code.Unauthorized},
	hub.Stopping:       {code: code.ServiceUnavailable, condition: amqp.ConditionDetachForced},
	hub.KeyGone:        {code: code.Unauthorized},
	hub.Overrun:        {code: code.ServiceUnavailable, condition: amqp.ConditionDetachForced},
}

// severed is what a link is told that ends for a cause.
func (v *conversation) severed(who string, c hub.Cause) *amqp.Error {
	e := ends[c]
	out := v.says(who, code.With(fault.New("amqpdoor.Cut", fault.Unavailable, e.code.Name+": "+c.String()), e.code))
	if e.condition != "" {
		out.Condition = e.condition
	}
	return out
}
