package mqtt

import (
	"context"
	"errors"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// meaning is what a code means to a bridge.
type meaning struct {
	kind          fault.Kind
	words, advise string
}

const askSecret = "correct the secret's file, or what the broker knows of the user"

// meanings is by reason code (MQTT 5.0, 2.4).
var meanings = map[byte]meaning{
	codeMalformed:      {fault.Unavailable, "says that it cannot read what the bridge sent", ""},
	codeProtocolError:  {fault.Unavailable, "says that the bridge broke the protocol", ""},
	codeClientID:       {fault.Denied, "does not take the bridge's client identifier", "let it take identifiers that begin with isthmus"},
	codeUserOrPassword: {fault.Unauthenticated, "does not know the user, or the password is wrong", askSecret},
	codeNotAuthorized:  {fault.Denied, "does not let the bridge in, or publish to the topic", askSecret},
	codeUnavailable:    {fault.Unavailable, "is not available", ""},
	codeBusy:           {fault.Unavailable, "is busy", ""},
	codeBanned:         {fault.Denied, "has banned the bridge", askSecret},
	codeShuttingDown:   {fault.Unavailable, "is shutting down", ""},
	codeAuthMethod:     {fault.Unauthenticated, "asks for another way to sign in", askSecret},
	codeKeepAlive:      {fault.Unavailable, "heard nothing for too long", ""},
	codeTakenOver:      {fault.Conflict, "has another connection of the same client identifier", "the bridge may run a second time somewhere"},
	codeTopicInvalid:   {fault.Invalid, "does not take the topic", "correct the topic in the bridge's destination"},
	codeReceiveMaximum: {fault.Unavailable, "got more at once than it said", ""},
	codePacketTooLarge: {fault.TooLarge, "does not take events so large", "raise its limit, or send less in a step"},
	codeRate:           {fault.Exhausted, "gets events too fast", "it goes on by itself"},
	codeQuota:          {fault.Exhausted, "has used up a quota", "it goes on by itself"},
	codePayloadInvalid: {fault.Invalid, "says that the body is not what its content type says", ""},
	codeRetain:         {fault.Invalid, "keeps no messages", "take retain out of the bridge's destination"},
	codeQoS:            {fault.Invalid, "takes no messages of quality of service 1", ""},
	codeAnotherServer:  {fault.Unavailable, "tells to use another server for now", ""},
	codeMoved:          {fault.Unavailable, "tells to use another server", "make the endpoint lead there"},
	codeConnectionRate: {fault.Exhausted, "gets connections too fast", "it goes on by itself"},
}

// oldCodes is what 3.1.1 says in CONNACK, in the codes of 5.
var oldCodes = map[byte]byte{
	byte(mqtt.UnacceptableVersion): codeVersion, byte(mqtt.IdentifierRejected): codeClientID, byte(mqtt.ServerUnavailable): codeUnavailable,
	byte(mqtt.BadUserOrPassword): codeUserOrPassword, byte(mqtt.NotAuthorized): codeNotAuthorized,
}

// refused puts a failure that the broker told into words. Its own reason goes to the log only: it may repeat what the event holds.
func refused(op, end string, r reply, old bool) error {
	code := r.code
	if old {
		code = oldCodes[code]
	}
	m, ok := meanings[code]
	if !ok {
		m = meaning{kind: fault.Unavailable, words: "refuses, and does not say why"}
	}
	f := fault.Newf(op, m.kind, "the broker behind %s %s (0x%02x)", end, m.words, r.code)
	if m.advise != "" {
		f = f.Advise("%s", m.advise)
	}
	if r.reason != "" {
		f = f.Because(errors.New(r.reason))
	}
	return f
}

// explain puts the end of a connection into words.
func (d *destination) explain(err error) error {
	const op = "mqtt.Write"
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if f, ok := errors.AsType[*farewell](err); ok {
		e := refused(op, d.end.Name, f.reply, false)
		if k := fault.KindOf(e); k == fault.Invalid || k == fault.TooLarge { // of one event among many, which the next attempt finds
			return fault.Newf(op, fault.Unavailable, "%s", fault.Message(e)).Because(e)
		}
		return e
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, errProtocol), errors.Is(err, mqtt.ErrMalformed), errors.Is(err, mqtt.ErrTooLarge):
		return fault.Newf(op, fault.Unavailable, "the broker behind %s said what no broker says here", d.end.Name).Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "the broker behind %s broke the connection", d.end.Name).Because(err)
}

// atFault tells whether the end of a connection may be because of what was sent on it.
func atFault(err error) bool {
	if f, ok := errors.AsType[*farewell](err); ok {
		switch f.code {
		case codeMalformed, codeProtocolError, codeTopicInvalid, codePacketTooLarge, codePayloadInvalid, lowestFailure:
			return true
		}
		return false
	}
	_, told := errors.AsType[*fault.Error](err)
	return !told
}
