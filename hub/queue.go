package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

// A command is free, or somebody has it: over HTTPS until a time, or in a session for as long as that lives. From there it is settled,
// or it comes back. Each coming back counts, whatever its reason (IoT Hub: the cloud-to-device message life cycle), and the one that
// reaches the limit settles it, too. Changes are made by the one goroutine that commits, one after the other, so nothing here is locked.

// outcome is how a command was settled.
type outcome struct {
	status string // of the feedback
	words  string
	good   bool
}

var (
	succeeded = outcome{"Success", "the device completed the message", true}
	expired   = outcome{"Expired", "the message expired before it was completed", false}
	exceeded  = outcome{"DeliveryCountExceeded", "the message came back too often", false}
	rejected  = outcome{"Rejected", "the device rejected the message", false}
	purged    = outcome{"Purged", "the queue of the device was emptied", false}
)

// wanted tells whether the sender asked to hear of it.
func (o outcome) wanted(ack string) bool {
	return ack == AckFull || o.good && ack == AckPositive || !o.good && ack == AckNegative
}

// queue changes commands inside a transaction.
type queue struct {
	hub      *Hub
	tx       *hubstore.Tx
	now      time.Time
	settings CommandSettings
	settled  map[outcome]int
	waking   map[Name]struct{} // for whom something is free now
	told     bool              // there is feedback to be received
}

// submit runs fn in a transaction that is shared with others, and then done. When that is durable, it wakes sessions for which there is
// something.
func (h *Hub) submit(ctx context.Context, fn func(*queue) error, done func(error)) {
	q := &queue{hub: h}
	h.server.store.Submit(ctx, func(tx *hubstore.Tx) error {
		q.tx, q.now, q.settings = tx, h.server.clock.Now().Truncate(time.Millisecond), h.CommandSettings()
		return fn(q)
	}, func(err error) {
		if err == nil {
			for o, n := range q.settled {
				h.server.metrics.deliveries.settled.WithLabelValues(o.status).Add(float64(n))
			}
			for n := range q.waking {
				h.wakeCommands(n)
			}
			if q.told {
				h.commands.told.announce()
			}
		}
		if done != nil {
			done(err)
		}
	})
}

// together is submit for who waits for the answer.
func (h *Hub) together(ctx context.Context, fn func(*queue) error) error {
	answer := make(chan error, 1)
	h.submit(ctx, fn, func(err error) { answer <- err })
	return <-answer
}

// wakeCommands lets the session of an identity know that there is something for it.
func (h *Hub) wakeCommands(n Name) {
	if s := h.session(n); s != nil {
		s.give(Commands, Receiver.CommandsWaiting)
	}
}

func (q *queue) wake(n Name) {
	if q.waking == nil {
		q.waking = map[Name]struct{}{}
	}
	q.waking[n] = struct{}{}
}

// has tells whether somebody still has the command. The lock of a session counts while the session is the one of its identity.
func (q *queue) has(c *hubstore.Command) bool {
	if c.Lock == "" || !c.LockedUntil.IsZero() {
		return c.LockedUntil.After(q.now)
	}
	s := q.hub.session(c.To)
	return s != nil && strings.HasPrefix(c.Lock, s.owner)
}

// take gives the first command that nobody has to who comes with a lock; nil when there is none. until is zero for a session.
func (q *queue) take(n Name, lock string, until time.Time) (*hubstore.Command, error) {
	list, err := q.tx.Commands(q.hub.id, n)
	if err != nil {
		return nil, err
	}
	for i := range list {
		c := &list[i]
		if q.has(c) {
			continue
		}
		if gone, err := q.release(c); gone || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		c.Lock, c.LockedUntil = lock, until
		if err := q.tx.LockCommand(*c); err != nil {
			return nil, err
		}
		return c, q.tx.LoadCommand(c)
	}
	return nil, nil
}

// release notes that nobody has a command, and tells whether that settles it.
func (q *queue) release(c *hubstore.Command) (gone bool, err error) {
	held := c.Lock != ""
	if held {
		c.Deliveries++
		c.Lock, c.LockedUntil = "", time.Time{}
	}
	switch {
	case held && c.Deliveries >= q.settings.MaxDeliveryCount: // first, so that it does not matter when a lapsed lock is noticed
		return true, q.settle(c, exceeded)
	case !c.Expires.After(q.now):
		return true, q.settle(c, expired)
	case held:
		q.wake(c.To)
		return false, q.tx.LockCommand(*c)
	}
	return false, nil
}

// settle ends a command, and tells its sender when that was wanted.
func (q *queue) settle(c *hubstore.Command, o outcome) error {
	if q.settled == nil {
		q.settled = map[outcome]int{}
	}
	q.settled[o]++
	if err := q.tx.DeleteCommand(*c); err != nil || !o.wanted(c.Ack) {
		return err
	}
	q.told = true
	return q.tx.InsertFeedback(hubstore.Feedback{
		Hub: q.hub.id, MessageID: c.MessageID, Device: c.To.Device, Status: o.status, Description: o.words,
		Happened: q.now, Expires: q.now.Add(q.settings.FeedbackTTL),
	})
}

// byLock finds the command that a lock holds.
func (q *queue) byLock(n Name, lock string) (*hubstore.Command, error) {
	c, err := q.tx.CommandByLock(q.hub.id, n, lock)
	if err != nil {
		return nil, err
	}
	// A session that was taken over may still complete what nobody else was given since: the device has it.
	if c == nil || !c.LockedUntil.IsZero() && !c.LockedUntil.After(q.now) {
		return nil, lockLost("hub.Command", n)
	}
	return c, nil
}

// expire settles the commands of an identity that are expired and that nobody has.
func (q *queue) expire(n Name) error {
	list, err := q.tx.Commands(q.hub.id, n)
	for i := range list {
		if err == nil && !q.has(&list[i]) {
			_, err = q.release(&list[i])
		}
	}
	return err
}

// purge settles everything of an identity, also what somebody has, and tells how much that was; what had ended before does not count.
func (q *queue) purge(n Name) (count int, err error) {
	if err := q.expire(n); err != nil {
		return 0, err
	}
	list, err := q.tx.Commands(q.hub.id, n)
	for i := range list {
		if err == nil {
			err = q.settle(&list[i], purged)
		}
	}
	return len(list), err
}

// dropCommands empties the queue of an identity that is being deleted. Who sent what was in it hears that it was purged.
func (h *Hub) dropCommands(tx *hubstore.Tx, n Name) error {
	q := &queue{hub: h, tx: tx, now: h.server.clock.Now(), settings: h.CommandSettings()}
	_, err := q.purge(n)
	return err
}

// giveBack frees what a session had.
func (q *queue) giveBack(n Name, owner string) error {
	list, err := q.tx.Commands(q.hub.id, n)
	for i := range list {
		if c := &list[i]; err == nil && c.LockedUntil.IsZero() && strings.HasPrefix(c.Lock, owner) {
			_, err = q.release(c)
		}
	}
	return err
}

// newLock returns a random lock: a UUID (RFC 9562, version 4), because AMQP carries it as 16 bytes.
func newLock() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	t := hex.EncodeToString(b[:])
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}
