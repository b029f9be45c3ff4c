package hubstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Command is a cloud-to-device message that is not settled.
type Command struct {
	Hub             string
	To              Name   // who it is for
	Sequence        int64  // given by InsertCommand; grows within the hub and never comes again
	MessageID       string // this and the next are as the sender wrote them and may be empty
	CorrelationID   string
	UserID          string
	Recipient       string // "to"
	ContentType     string
	ContentEncoding string
	Ack             string // which feedback its sender wants
	Properties      map[string]string
	Enqueued        time.Time
	Expires         time.Time
	Deliveries      int       // how often it was given and came back
	Lock            string    // of who has it now; empty when it is free
	LockedUntil     time.Time // zero with a lock: while the session lives that has it
	Body            []byte
}

// InsertCommand adds a command at the end of its queue and returns the sequence number it got. NotFound when there is nobody it could be
// for.
func (tx *Tx) InsertCommand(c Command) (int64, error) {
	var sequence int64
	if _, err := tx.sql.Row([]any{&sequence}, "INSERT INTO counters (hub, name, last) VALUES (?, 'commands', 1) "+
		"ON CONFLICT (hub, name) DO UPDATE SET last = counters.last + 1 RETURNING last", c.Hub); err != nil {
		return 0, err
	}
	properties := "{}"
	if len(c.Properties) > 0 {
		b, err := json.Marshal(c.Properties)
		if err != nil {
			return 0, fault.Wrap("hubstore.InsertCommand", fault.Internal, err, "")
		}
		properties = string(b)
	}
	body := c.Body
	if body == nil {
		body = []byte{}
	}
	_, err := tx.sql.Exec("INSERT INTO commands (hub, device, module, sequence, message_id, correlation_id, user_id, recipient, content_type, encoding, ack, properties, "+
		"enqueued, expires, deliveries, lock_token, locked_until, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		c.Hub, c.To.Device, c.To.Module, sequence, c.MessageID, c.CorrelationID, c.UserID, c.Recipient, c.ContentType, c.ContentEncoding, c.Ack, properties,
		ms(c.Enqueued), ms(c.Expires), c.Deliveries, c.Lock, ms(c.LockedUntil), body)
	if fault.KindOf(err) == fault.Conflict { // no row of identities: the number is new
		return 0, missing(c.To)
	}
	return sequence, err
}

// CountCommands returns how many commands of an identity are not settled.
func (tx *Tx) CountCommands(hub string, n Name) (int, error) { return countCommands(tx.sql, hub, n) }

// CountCommands returns how many commands of an identity are not settled.
func (s *Store) CountCommands(ctx context.Context, hub string, n Name) (int, error) {
	return countCommands(s.db.Reading(ctx), hub, n)
}

func countCommands(sql *database.Session, hub string, n Name) (count int, err error) {
	_, err = sql.Row([]any{&count}, "SELECT COUNT(*) FROM commands WHERE hub = ? AND device = ? AND module = ?", hub, n.Device, n.Module)
	return count, err
}

// OwnerLen is how much of a lock names the session that has it.
const OwnerLen = len("00000000-0000-4000-")

// CommandFree tells whether an identity has a command that somebody could be given now. owner, which may be empty, is the session whose
// locks count.
func (s *Store) CommandFree(ctx context.Context, hub string, n Name, owner string, now time.Time) (bool, error) {
	if owner == "" {
		owner = "nobody" // no lock begins so, not even the empty one of a command that is free
	}
	var one int
	return s.db.Reading(ctx).Row([]any{&one}, "SELECT 1 FROM commands WHERE hub = ? AND device = ? AND module = ? "+
		"AND ((locked_until = 0 AND substr(lock_token, 1, ?) <> ?) OR (locked_until > 0 AND locked_until <= ?)) LIMIT 1",
		hub, n.Device, n.Module, OwnerLen, owner, ms(now))
}

// commandState is what decides about a command; the rest is read by LoadCommand.
const commandState = "SELECT device, module, sequence, message_id, ack, expires, deliveries, lock_token, locked_until FROM commands WHERE hub = ? AND "

// Commands lists an identity's commands in the order they were sent, without their contents.
func (tx *Tx) Commands(hub string, n Name) ([]Command, error) {
	return tx.commands(hub, "device = ? AND module = ? ORDER BY sequence", n.Device, n.Module)
}

// CommandByLock finds the command of an identity that has a lock, without its contents; nil when there is none.
func (tx *Tx) CommandByLock(hub string, n Name, lock string) (*Command, error) {
	list, err := tx.commands(hub, "device = ? AND module = ? AND lock_token = ?", n.Device, n.Module, lock)
	if err != nil || len(list) == 0 || lock == "" {
		return nil, err
	}
	return &list[0], nil
}

// Expired and lapsed commands, as the indexes over them know them.
const (
	isExpired = "lock_token = '' AND expires <= ?"
	hasLapsed = "locked_until > 0 AND locked_until <= ?"
)

// CommandsDue tells whether a hub has commands that nobody has and that are expired, or whose lock has lapsed.
func (s *Store) CommandsDue(ctx context.Context, hub string, now time.Time) (due bool, err error) {
	for _, which := range []string{isExpired, hasLapsed} {
		var one int
		if due, err = s.db.Reading(ctx).Row([]any{&one}, "SELECT 1 FROM commands WHERE hub = ? AND "+which+" LIMIT 1", hub, ms(now)); due || err != nil {
			return due, err
		}
	}
	return false, nil
}

// ExpiredCommands lists commands of a hub that nobody has and that are expired, at most limit of them, without their contents.
func (tx *Tx) ExpiredCommands(hub string, now time.Time, limit int) ([]Command, error) {
	return tx.commands(hub, isExpired+" ORDER BY expires LIMIT ?", ms(now), limit)
}

// LapsedCommands lists commands of a hub whose lock has ended, at most limit of them, without their contents.
func (tx *Tx) LapsedCommands(hub string, now time.Time, limit int) ([]Command, error) {
	return tx.commands(hub, hasLapsed+" ORDER BY locked_until LIMIT ?", ms(now), limit)
}

func (tx *Tx) commands(hub, where string, args ...any) ([]Command, error) {
	var out []Command
	err := tx.sql.Rows(func(scan func(...any) error) error {
		c := Command{Hub: hub}
		var expires, until int64
		err := scan(&c.To.Device, &c.To.Module, &c.Sequence, &c.MessageID, &c.Ack, &expires, &c.Deliveries, &c.Lock, &until)
		c.Expires, c.LockedUntil = at(expires), at(until)
		out = append(out, c)
		return err
	}, commandState+where, append([]any{hub}, args...)...)
	return out, err
}

// LoadCommand reads what the lists above leave out.
func (tx *Tx) LoadCommand(c *Command) error {
	var enqueued int64
	var properties string
	ok, err := tx.sql.Row([]any{&c.CorrelationID, &c.UserID, &c.Recipient, &c.ContentType, &c.ContentEncoding, &properties, &enqueued, &c.Body},
		"SELECT correlation_id, user_id, recipient, content_type, encoding, properties, enqueued, body FROM commands "+
			"WHERE hub = ? AND device = ? AND module = ? AND sequence = ?", c.Hub, c.To.Device, c.To.Module, c.Sequence)
	if err == nil && !ok {
		err = fault.Newf("hubstore.LoadCommand", fault.NotFound, "%s has no such message", c.To.Words())
	}
	c.Enqueued = at(enqueued)
	if err == nil && properties != "{}" {
		err = fault.Wrap("hubstore.LoadCommand", fault.Internal, json.Unmarshal([]byte(properties), &c.Properties), "")
	}
	return err
}

// LockCommand writes who has a command, and how often it came back.
func (tx *Tx) LockCommand(c Command) error {
	_, err := tx.sql.Exec("UPDATE commands SET deliveries = ?, lock_token = ?, locked_until = ? WHERE hub = ? AND device = ? AND module = ? AND sequence = ?",
		c.Deliveries, c.Lock, ms(c.LockedUntil), c.Hub, c.To.Device, c.To.Module, c.Sequence)
	return err
}

// DeleteCommand removes a command.
func (tx *Tx) DeleteCommand(c Command) error {
	_, err := tx.sql.Exec("DELETE FROM commands WHERE hub = ? AND device = ? AND module = ? AND sequence = ?", c.Hub, c.To.Device, c.To.Module, c.Sequence)
	return err
}

// FreeCommands makes every command free which a session of the process before this one had; it counts as one that came back.
func (tx *Tx) FreeCommands(hub string) error {
	_, err := tx.sql.Exec("UPDATE commands SET deliveries = deliveries + 1, lock_token = '' WHERE hub = ? AND lock_token <> '' AND locked_until = 0", hub)
	return err
}
