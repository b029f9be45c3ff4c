package mqttdoor

import (
	"sync"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// commands is the delivery of cloud-to-device messages to a client that subscribed to them. Each goes out once a connection; its PUBACK
// completes it. What is not acknowledged when the connection ends comes again, with the same packet identifier and DUP (MQTT-4.4.0-1).
type commands struct {
	mu      sync.Mutex // guards the fields below
	kind    subscription
	qos     byte
	on      bool
	ended   bool
	waiting bool // the hub has said that there are some since somebody looked
	pumping bool // a goroutine fetches them
	idle    sync.Cond
	flying  map[uint16]string // locks by packet identifier
}

// mostFlying is how many messages may wait for their PUBACK; the hub queues no more for one identity.
const mostFlying = hub.MaxQueue

// startCommands begins to deliver, or changes how.
func (c *client) startCommands(kind subscription, qos byte) {
	if c.commands == nil {
		c.commands = &commands{}
		c.commands.idle.L = &c.commands.mu
	}
	d := c.commands
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kind, d.qos, d.on = kind, qos, true
	c.pump(d)
}

// pauseCommands ends the delivery of what was not sent yet.
func (c *client) pauseCommands() {
	if d := c.commands; d != nil {
		d.mu.Lock()
		d.on = false
		d.mu.Unlock()
	}
}

// stopCommands ends the delivery and waits for its goroutine.
func (c *client) stopCommands() {
	d := c.commands
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	for d.pumping {
		d.idle.Wait()
	}
}

// CommandsWaiting implements hub.Receiver.
func (c *client) CommandsWaiting() {
	d := c.commands // Listen was called when it was there
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = true
	c.pump(d)
}

// acknowledged takes a PUBACK. One for nothing that is known came late and is no harm.
func (c *client) acknowledged(id uint16) {
	d := c.commands
	if d == nil {
		return
	}
	d.mu.Lock()
	lock, ok := d.flying[id]
	delete(d.flying, id)
	c.pump(d)
	d.mu.Unlock()
	if ok {
		c.session.Complete(lock, c.completed)
	}
}

// completed hears what became of a completion. When it failed the message comes again, or has expired.
func (c *client) completed(err error) {
	if err != nil {
		c.door.log.Debug("hub: a cloud-to-device message could not be completed", "device", c.session.Name().String(), "err", err)
	}
}

// pump begins to fetch what waits, unless somebody does. It is called with the lock held.
func (c *client) pump(d *commands) {
	if d.waiting && d.on && !d.ended && !d.pumping && len(d.flying) < mostFlying {
		d.pumping = true
		go c.fetch(d)
	}
}

func (c *client) fetch(d *commands) {
	for {
		d.mu.Lock()
		d.waiting = false
		d.mu.Unlock()
		for c.outbox.await() && c.one(d) {
		}
		d.mu.Lock()
		again := d.waiting && d.on && !d.ended && len(d.flying) < mostFlying
		if !again {
			d.pumping = false
			d.idle.Broadcast()
		}
		d.mu.Unlock()
		if !again {
			return
		}
	}
}

// one sends the next message and tells whether there may be another.
func (c *client) one(d *commands) bool {
	d.mu.Lock()
	full := len(d.flying) >= mostFlying
	if full {
		d.waiting = true // for when there is room
	}
	ready := d.on && !d.ended && !full
	d.mu.Unlock()
	if !ready {
		return false
	}
	m, err := c.session.NextCommand(c.conn.Context()) // nil without an error when there is none
	if err != nil {
		c.outbox.fail(err) // it comes back, and asks again
		return false
	}
	if m == nil {
		return false
	}
	p := mqtt.Publish{Payload: m.Body, Dup: m.DeliveryCount > 0}
	d.mu.Lock()
	kind := d.kind
	if d.qos == 1 {
		p.QoS, p.ID = 1, d.identifier(m.Sequence)
		if d.flying == nil {
			d.flying = map[uint16]string{}
		}
		d.flying[p.ID] = m.Lock
	} else {
		p.Dup = false // MQTT-3.3.1-2
	}
	d.mu.Unlock()
	p.Topic = c.commandTopic(kind, m)
	if err := c.outbox.push(&p); err != nil { // its properties are too long for a topic
		d.mu.Lock()
		delete(d.flying, p.ID)
		d.mu.Unlock()
		c.door.log.Warn("hub: a cloud-to-device message does not fit into MQTT and is rejected", "device", c.session.Name().String(), "messageId", m.MessageID, "err", err)
		c.session.Reject(m.Lock, c.completed)
		return true
	}
	if p.QoS == 0 { // at most once: it is out of our hands
		c.session.Complete(m.Lock, c.completed)
	}
	return true
}

// identifier is the packet identifier of a message: the same one when it comes again, which makes it recognisable after a reconnect and
// after a restart. Messages of one device are close together, so that two of them rarely meet.
func (d *commands) identifier(sequence int64) uint16 {
	id := uint16(sequence%65535) + 1
	for d.flying[id] != "" {
		if id++; id == 0 {
			id = 1
		}
	}
	return id
}

// commandTopic is where a message goes: a device's under messages/devicebound, a module's under the input it is for.
func (c *client) commandTopic(kind subscription, m *hub.Command) []byte {
	topic := append([]byte(c.topics.own), "/messages/devicebound/"...)
	if kind == toInputs {
		topic = append(append(append(topic[:len(c.topics.own)], "/inputs/"...), m.Input()...), '/')
	}
	return appendBag(topic, m)
}
