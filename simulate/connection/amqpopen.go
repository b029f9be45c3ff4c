package connection

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// ourWindow is how many transfers the hub may send us: answers of $cbs, one at a time.
const ourWindow = 100

// introduce opens the connection, puts the token, and attaches the link for messages. There is no SASL, as in SDKs for Node; who we are the
// token says, or the certificate. What has no answer to wait for is written at once (2.4.1 allows it).
func (t *amqpTalk) introduce(ctx context.Context, hello Hello) error {
	t.keepAlive = time.Duration(hello.KeepAlive) * time.Second
	t.address = "/devices/" + hello.Device + "/messages/events"
	b := amqp.ProtocolHeader(amqp.ProtocolAMQP)
	out := t.append(b[:], &amqp.Open{
		ContainerID: hello.Device, Hostname: t.c.way.cfg.Host, MaxFrameSize: amqp.Some(uint32(largestFrame)), ChannelMax: amqp.Some(uint16(0)),
		IdleTimeout: amqp.Optional[uint32]{Value: uint32(t.keepAlive.Milliseconds() / 2), Set: t.keepAlive > 0}, // the hub is heard at half of it
	})
	out = t.append(out, &amqp.Begin{IncomingWindow: ourWindow, OutgoingWindow: ourWindow, HandleMax: amqp.Some(handles - 1)})
	if hello.Token != "" {
		t.audience = url.QueryEscape(t.c.way.cfg.Host + "/devices/" + hello.Device)
		out = t.append(out, sender(tokenHandle, "$cbs"))
		out = t.append(out, &amqp.Attach{
			Name: names[answerHandle], Handle: answerHandle, Role: amqp.RoleReceiver, Source: &amqp.Source{Address: "$cbs"}, Target: &amqp.Target{Address: "cbs"},
		})
		out = t.append(out, &amqp.Flow{
			IncomingWindow: ourWindow, OutgoingWindow: ourWindow, Handle: amqp.Some(answerHandle), DeliveryCount: amqp.Some(uint32(0)), LinkCredit: amqp.Some(uint32(1)),
		})
	} else {
		out = t.append(out, sender(eventsHandle, t.address))
	}
	if err := t.c.send(out); err != nil {
		return err
	}
	if err := t.in.header(); err != nil {
		return t.unanswered(ctx, err)
	}
	if hello.Token == "" {
		return t.until(ctx, func() bool { return t.welcome[eventsHandle] })
	}
	if err := t.until(ctx, func() bool { return t.begun && t.has(tokenHandle) }); err != nil {
		return err
	}
	if err := t.put(hello.Token); err != nil {
		return err
	}
	if err := t.until(ctx, func() bool { return t.trusted }); err != nil {
		return err
	}
	if err := t.c.send(t.append(nil, sender(eventsHandle, t.address))); err != nil {
		return err
	}
	return t.until(ctx, func() bool { return t.welcome[eventsHandle] })
}

// names of our links.
var names = [handles]string{"cbs-sender", "cbs-receiver", "events"}

// sender is an attach of a link that we send on (2.7.3), in the modes of SDKs: settled by the hub, which settles first.
func sender(handle uint32, address string) *amqp.Attach {
	return &amqp.Attach{
		Name: names[handle], Handle: handle, Role: amqp.RoleSender, SndSettleMode: amqp.Some(amqp.SenderUnsettled), RcvSettleMode: amqp.Some(amqp.ReceiverFirst),
		Source: &amqp.Source{Address: names[handle]}, Target: &amqp.Target{Address: address}, InitialDeliveryCount: amqp.Some(uint32(0)),
		Properties: amqp.Map{{Key: amqp.Symbol("com.microsoft:client-version"), Value: "isthmus-simulate"}},
	}
}

func (t *amqpTalk) append(dst []byte, p amqp.Performative) []byte {
	return amqp.AppendFrame(dst, amqp.FrameAMQP, 0, p, nil)
}

// has tells whether a link of ours has credit.
func (t *amqpTalk) has(handle uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.links[handle].left() > 0
}

// until takes frames until something has happened.
func (t *amqpTalk) until(ctx context.Context, happened func() bool) error {
	for !happened() {
		body, err := t.in.next()
		if err != nil {
			return t.unanswered(ctx, err)
		}
		if err := t.take(body); err != nil {
			return refusal(err)
		}
	}
	return nil
}

// unanswered says that the hub left while we waited for it.
func (t *amqpTalk) unanswered(ctx context.Context, err error) error {
	op := "connection.Open"
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if ctx.Err() != nil {
		return fault.Newf(op, fault.Timeout, "%s did not answer in AMQP in time", t.c.way.Target()).Because(err)
	}
	if errors.Is(err, io.EOF) {
		return fault.New(op, fault.Unavailable, "the hub closed the connection without an answer").Because(err)
	}
	return fault.Wrap(op, fault.Unavailable, err, "the connection broke before the hub answered")
}

// said is what the hub said when it ended something.
type said struct {
	what  string // the connection, the session, the link
	cause *amqp.Error
}

// Error implements error.
func (s *said) Error() string {
	if s.cause == nil {
		return "the hub ended the " + s.what
	}
	return "the hub ended the " + s.what + ": " + words(s.cause)
}

// ended makes an error of what the hub said.
func ended(what string, cause *amqp.Error) error {
	s := &said{what, cause}
	return fault.New("connection.read", fault.Unavailable, s.Error()).Because(s)
}

// refusal makes of the end of something while it began what it means: that the hub does not let the device in, or that it cannot now.
func refusal(err error) error {
	s, ok := errors.AsType[*said](err)
	if !ok || s.cause == nil {
		return err
	}
	switch s.cause.Condition {
	case amqp.ConditionUnauthorizedAccess, amqp.ConditionNotFound, amqp.ConditionNotAllowed:
		return fault.Newf("connection.Open", fault.Unauthenticated, "the hub refused the device: %s", words(s.cause)).Advise(lookThere).Because(err)
	}
	return fault.Newf("connection.Open", fault.Unavailable, "the hub cannot serve the device now: %s", words(s.cause)).Because(err)
}

const lookThere = "the device is not in the registry, or the key, the clock or the way in is wrong: the hub's log says which"

// words are what a hub's error says to people, without what is different each time, so that the same errors can be counted.
func words(e *amqp.Error) string {
	if e == nil {
		return "it gave no reason"
	}
	text := short(e.Description)
	if text == "" {
		return string(e.Condition)
	}
	return text + " (" + string(e.Condition) + ")"
}

// short cuts off tracking ids and what is too long.
func short(text string) string {
	const most = 300
	text, _, _ = strings.Cut(text, "Tracking ID:")
	text, _, _ = strings.Cut(text, "TrackingId:")
	text = strings.TrimRight(text, " .,;\r\n")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
