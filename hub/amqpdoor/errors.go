package amqpdoor

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// says is how a peer is told of a fault. Under the tracking id in it our log has the rest.
func (v *conversation) says(who string, err error) *amqp.Error {
	k := code.Of(err)
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
	}
	id := v.track(who, err)
	return &amqp.Error{Condition: amqp.Symbol(k.Condition()), Description: text + ". Tracking ID: " + id}
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
