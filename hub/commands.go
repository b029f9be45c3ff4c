package hub

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Bounds of cloud-to-device messages (IoT Hub: quotas, cloud-to-device messaging).
const (
	MaxCommand    = 64 << 10 // body and properties together, in bytes
	MaxQueue      = 50       // messages of one identity that are not settled
	MaxCommandTTL = 48 * time.Hour
	MinLock       = 5 * time.Second
	MaxLock       = 5 * time.Minute
)

// Which feedback the sender of a message asks for.
const (
	AckNone     = "none"
	AckPositive = "positive"
	AckNegative = "negative"
	AckFull     = "full"
)

// Command is a cloud-to-device message.
type Command struct {
	MessageID       string
	CorrelationID   string
	UserID          string
	To              string // empty is /devices/{device}/messages/devicebound, and so for a module
	ContentType     string
	ContentEncoding string
	Ack             string    // AckNone and so on, in any case of letters; empty is AckNone
	Expires         time.Time // zero is now and the default time to live; no later than MaxCommandTTL from now
	Properties      map[string]string
	Body            []byte

	// The hub's, who looks at none of them when it is sent:

	Sequence      int64 // grows with every message of the hub
	Enqueued      time.Time
	DeliveryCount int    // how often it was given before and came back
	Lock          string // of who was given it: a UUID in lower case
}

// SendCommand puts a message into the queue of a device or a module and returns it as it is there once it is durable. NotFound, TooLarge,
// Invalid; Exhausted (code.QueueDepthExceeded) when MaxQueue messages wait.
func (h *Hub) SendCommand(ctx context.Context, n Name, c Command) (Command, error) {
	type queued struct {
		c   Command
		err error
	}
	answer := make(chan queued, 1)
	h.SubmitCommand(ctx, n, c, func(c Command, err error) { answer <- queued{c, err} })
	a := <-answer
	if a.err != nil {
		return Command{}, h.whatIsMissing(ctx, n, a.err) // it may have been deleted meanwhile
	}
	return a.c, nil
}

// SubmitCommand is SendCommand for who has more to send meanwhile: what one caller submits is queued in that order, and many messages become
// durable together. done must not wait and may be called before SubmitCommand returns, which waits while the store has too much to do.
func (h *Hub) SubmitCommand(ctx context.Context, n Name, c Command, done func(Command, error)) {
	op := "hub.SendCommand"
	if err := h.mayQueue(ctx, op, n, &c); err != nil {
		done(Command{}, err)
		return
	}
	h.submit(ctx, func(q *queue) error {
		count, err := q.tx.CountCommands(h.id, n)
		if err == nil && count >= MaxQueue { // what is expired makes room
			if err = q.expire(n); err == nil {
				count, err = q.tx.CountCommands(h.id, n)
			}
		}
		if err != nil {
			return err
		}
		if count >= MaxQueue {
			return code.With(fault.Newf(op, fault.Exhausted, "%d messages wait for %s already", count, n.Words()).
				Advise("wait until it completes some, or empty its queue"), code.QueueDepthExceeded)
		}
		c.Enqueued, c.DeliveryCount, c.Lock = q.now, 0, ""
		if latest := q.now.Add(MaxCommandTTL); c.Expires.IsZero() {
			c.Expires = q.now.Add(q.settings.DefaultTTL)
		} else if c.Expires.After(latest) {
			c.Expires = latest
		}
		c.Expires = c.Expires.UTC().Truncate(time.Millisecond)
		q.wake(n)
		c.Sequence, err = q.tx.InsertCommand(stored(h.id, n, c))
		return err
	}, func(err error) {
		if err == nil {
			h.server.metrics.deliveries.sent.Inc()
		}
		done(c, err)
	})
}

// mayQueue tells what can be told before the message's turn in the store.
func (h *Hub) mayQueue(ctx context.Context, op string, n Name, c *Command) error {
	if err := checkCommand(op, n, c); err != nil {
		return err
	}
	if _, err := h.Admit(limit.Commands, n, 1); err != nil {
		return err
	}
	if h.session(n) == nil { // who is connected exists
		_, err := h.Identity(ctx, n)
		return err
	}
	return nil
}

func checkCommand(op string, n Name, c *Command) error {
	c.Ack = strings.ToLower(c.Ack)
	switch c.Ack {
	case "":
		c.Ack = AckNone
	case AckNone, AckPositive, AckNegative, AckFull:
	default:
		return fault.Newf(op, fault.Invalid, "ack is %.20q", c.Ack).Advise("it is %s, %s, %s or %s", AckNone, AckPositive, AckNegative, AckFull)
	}
	if c.To == "" {
		c.To = "/" + path(n) + "/messages/devicebound"
	}
	size := len(c.Body)
	text := func(s string) error {
		size += len(s)
		if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return fault.Newf(op, fault.Invalid, "%.40q in a property is not UTF-8 text", s)
		}
		return nil
	}
	for _, s := range []string{c.MessageID, c.CorrelationID, c.UserID, c.To, c.ContentType, c.ContentEncoding} {
		if err := text(s); err != nil {
			return err
		}
	}
	for k, v := range c.Properties {
		if k == "" {
			return fault.New(op, fault.Invalid, "a property of the message has no name")
		}
		for _, s := range []string{k, v} {
			if err := text(s); err != nil {
				return err
			}
		}
	}
	if size > MaxCommand {
		return code.With(fault.Newf(op, fault.TooLarge, "the message has %d bytes with its properties, %d are allowed", size, MaxCommand), code.MessageTooLarge)
	}
	return nil
}

func stored(id string, n Name, c Command) hubstore.Command {
	return hubstore.Command{
		Hub: id, To: n, MessageID: c.MessageID, CorrelationID: c.CorrelationID, UserID: c.UserID, Recipient: c.To, ContentType: c.ContentType,
		ContentEncoding: c.ContentEncoding, Ack: c.Ack, Properties: c.Properties, Enqueued: c.Enqueued, Expires: c.Expires, Body: c.Body,
	}
}

func given(c *hubstore.Command, err error) (*Command, error) {
	if c == nil || err != nil {
		return nil, err
	}
	return &Command{
		MessageID: c.MessageID, CorrelationID: c.CorrelationID, UserID: c.UserID, To: c.Recipient, ContentType: c.ContentType,
		ContentEncoding: c.ContentEncoding, Ack: c.Ack, Expires: c.Expires, Properties: c.Properties, Body: c.Body,
		Sequence: c.Sequence, Enqueued: c.Enqueued, DeliveryCount: c.Deliveries, Lock: c.Lock,
	}, nil
}

// ReceiveCommand lends the first message that nobody has to a device for a time, 0 being what the settings say; nil when there is none.
// The time is MinLock to MaxLock, or it is Invalid.
func (h *Hub) ReceiveCommand(ctx context.Context, n Name, lock time.Duration) (*Command, error) {
	op := "hub.ReceiveCommand"
	if lock == 0 {
		lock = h.CommandSettings().Lock
	}
	if err := validLock(op, lock); err != nil {
		return nil, err
	}
	if _, err := h.Admit(limit.Receives, n, 1); err != nil {
		return nil, err
	}
	if free, err := h.commandFree(ctx, n); err != nil || !free {
		return nil, err
	}
	var got *hubstore.Command
	err := h.together(ctx, func(q *queue) (err error) {
		got, err = q.take(n, newLock(), q.now.Add(lock))
		return err
	})
	return given(got, err)
}

// commandFree only reads, so that many who ask in vain do not write.
func (h *Hub) commandFree(ctx context.Context, n Name) (bool, error) {
	owner := ""
	if s := h.session(n); s != nil {
		owner = s.owner
	}
	return h.server.store.CommandFree(ctx, h.id, n, owner, h.server.clock.Now())
}

func validLock(op string, lock time.Duration) error {
	if lock < MinLock || lock > MaxLock {
		return fault.Newf(op, fault.Invalid, "a lock of %g s was asked for", lock.Seconds()).Advise("it is %g to %g s", MinLock.Seconds(), MaxLock.Seconds())
	}
	return nil
}

// CompleteCommand settles a message as done. Precondition (code.MessageLockLost) when the lock has lapsed or never was.
func (h *Hub) CompleteCommand(ctx context.Context, n Name, lock string) error {
	return h.together(ctx, byLock(n, lock, succeed))
}

// RejectCommand settles a message as refused. Faults are those of CompleteCommand.
func (h *Hub) RejectCommand(ctx context.Context, n Name, lock string) error {
	return h.together(ctx, byLock(n, lock, reject))
}

// AbandonCommand gives a message back to the queue, where it keeps its place. Faults are those of CompleteCommand.
func (h *Hub) AbandonCommand(ctx context.Context, n Name, lock string) error {
	return h.together(ctx, byLock(n, lock, abandon))
}

type step func(*queue, *hubstore.Command) error

func succeed(q *queue, c *hubstore.Command) error { return q.settle(c, succeeded) }
func reject(q *queue, c *hubstore.Command) error  { return q.settle(c, rejected) }

func abandon(q *queue, c *hubstore.Command) error {
	_, err := q.release(c)
	return err
}

func byLock(n Name, lock string, do step) func(*queue) error {
	lock = strings.ToLower(lock)
	return func(q *queue) error {
		c, err := q.byLock(n, lock)
		if err != nil {
			return err
		}
		return do(q, c)
	}
}

func lockLost(op string, n Name) error {
	return code.With(fault.Newf(op, fault.Precondition, "the lock holds no message of %s, or not any more", n.Words()).
		Advise("receive the message again; ask for a longer lock if this takes so long"), code.MessageLockLost)
}

// PurgeCommands empties the queue of an identity, of what is being delivered too, and returns how many messages that were. NotFound.
func (h *Hub) PurgeCommands(ctx context.Context, n Name) (count int, err error) {
	if _, err := h.Identity(ctx, n); err != nil {
		return 0, err
	}
	err = h.together(ctx, func(q *queue) error {
		count, err = q.purge(n)
		return err
	})
	return count, err
}

// Depth returns how many messages of an identity are not settled: cloudToDeviceMessageCount.
func (h *Hub) Depth(ctx context.Context, n Name) (int, error) {
	return h.server.store.CountCommands(ctx, h.id, n)
}

// NextCommand gives the session the first message that nobody has, which it keeps until it settles it or ends; nil when there is none,
// or when the identity has another session by now. Ask again after Receiver.CommandsWaiting. What was given before and came back has a
// DeliveryCount.
func (s *Session) NextCommand(ctx context.Context) (*Command, error) {
	h, n := s.hub, s.Name()
	if free, err := h.commandFree(ctx, n); err != nil || !free {
		return nil, err
	}
	s.holds.Add(1) // before the hub can give anything, so that End looks for it
	var got *hubstore.Command
	err := h.together(ctx, func(q *queue) (err error) {
		if h.session(n) == s {
			got, err = q.take(n, s.owner+newLock()[hubstore.OwnerLen:], time.Time{})
		}
		return err
	})
	if err == nil && got == nil {
		s.holds.Add(-1)
	}
	return given(got, err)
}

// Complete settles a message as done and calls done, which may be nil and must not wait, when that is durable. It may wait while the
// store has too much to do. Faults are those of CompleteCommand; so they are of Reject and Abandon.
func (s *Session) Complete(lock string, done func(error)) { s.settle(lock, succeed, done) }

// Reject settles a message as refused.
func (s *Session) Reject(lock string, done func(error)) { s.settle(lock, reject, done) }

// Abandon gives a message back to the queue.
func (s *Session) Abandon(lock string, done func(error)) { s.settle(lock, abandon, done) }

func (s *Session) settle(lock string, do step, done func(error)) {
	s.last.Store(s.hub.server.clock.Now().UnixNano())
	s.hub.submit(context.Background(), byLock(s.Name(), lock, do), func(err error) {
		if err == nil && strings.HasPrefix(strings.ToLower(lock), s.owner) {
			s.holds.Add(-1)
		}
		if done != nil {
			done(err)
		}
	})
}

// giveBackCommands frees what the session was given; what cannot be written now is tried again by the sweep.
func (s *Session) giveBackCommands() {
	if s.holds.Load() == 0 {
		return
	}
	h, n := s.hub, s.Name()
	h.submit(context.Background(), func(q *queue) error { return q.giveBack(n, s.owner) }, func(err error) {
		if err != nil {
			h.commands.owe(n, s.owner)
			h.server.log.Warn("hub: what a device did not complete is not given back yet; it will be tried again", "hub", h.Name(), "device", n.String(), "err", err)
		}
	})
}
