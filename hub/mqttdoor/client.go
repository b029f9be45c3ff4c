package mqttdoor

import (
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/expiry"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// client is a connected device or module. What follows "reading" belongs to whichever goroutine reads.
type client struct {
	door    *Door
	conn    *front.Conn
	session *hub.Session
	topics  topics
	silence time.Duration
	keeps   bool // clean session 0: what it subscribes to of commands is kept
	will    *mqtt.Will
	term    *expiry.Term // nil when the proof has no end
	outbox  outbox

	commands *commands // nil before it subscribed to them

	// Reading.
	reader    *mqtt.Reader
	mayRest   bool
	heard     bool      // a packet was read since until was set
	until     time.Time // the end of the silence it may keep
	deadline  time.Time // of reading, now
	twins     bool      // subscribed to answers about its twin
	packet    mqtt.Publish
	bag       []byte      // of the message before, whose labels are
	bagLabels *hub.Labels // kept: devices often send the same properties again
}

// serve reads until the connection is over. When nothing comes for a while it goes on where less is needed.
func (c *client) serve() {
	clean, err := c.read()
	if silent(err) && c.mayRest && c.conn.Cause() == 0 && time.Now().Before(c.until) {
		c.reader.Rest()
		c.outbox.rest()
		c.bag, c.bagLabels = nil, nil
		c.packet = mqtt.Publish{}
		go c.rest() // this stack has grown
		return
	}
	c.end(clean, err)
}

// rest waits for the next byte.
func (c *client) rest() {
	c.deadline = c.until
	_ = c.conn.SetReadDeadline(c.deadline)
	_ = c.conn.Rest() // whatever it is, reading tells
	c.serve()
}

// wait is called when a packet has to be waited for: the keep-alive's time runs from the packet before. Setting a deadline costs as much
// as a part of a message, so one that is still far away stays.
func (c *client) wait() {
	now := time.Now()
	if c.heard {
		c.until, c.heard = now.Add(c.silence), false
	}
	patience := c.door.cfg.Patience
	left := c.deadline.Sub(now)
	switch {
	case !c.mayRest: // that deadline ends the connection
		c.deadline = c.until
	case left >= patience/2 && left <= patience:
		return
	default:
		c.deadline = now.Add(patience)
		if c.until.Before(c.deadline) {
			c.deadline = c.until
		}
	}
	_ = c.conn.SetReadDeadline(c.deadline) // a closed connection tells it when read
}

// read handles packets until the connection ends, or is quiet; clean says that the device said DISCONNECT.
func (c *client) read() (clean bool, err error) {
	for {
		first, body, err := c.reader.Next()
		if err != nil {
			return false, err
		}
		c.heard = true
		switch mqtt.TypeOf(first) {
		case mqtt.PUBLISH:
			if err := mqtt.DecodePublish(first, body, &c.packet); err != nil {
				return false, err
			}
			err = c.publish(&c.packet)
		case mqtt.DISCONNECT:
			_, err := mqtt.Decode(first, body)
			return err == nil, err
		default:
			var p mqtt.Packet
			if p, err = mqtt.Decode(first, body); err == nil {
				err = c.control(p)
			}
		}
		if err != nil {
			return false, err
		}
	}
}

// control handles what is no PUBLISH.
func (c *client) control(p mqtt.Packet) error {
	switch p := p.(type) {
	case mqtt.Bare:
		if p == mqtt.Bare(mqtt.PINGREQ) {
			return c.outbox.send(mqtt.Bare(mqtt.PINGRESP))
		}
	case *mqtt.Subscribe:
		return c.subscribe(p)
	case *mqtt.Unsubscribe:
		return c.unsubscribe(p)
	case mqtt.Ack:
		if p.Of == mqtt.PUBACK {
			c.acknowledged(p.ID)
			return nil
		}
	}
	// A second CONNECT too (MQTT-3.1.0-2).
	return fault.Newf("mqttdoor.control", fault.Invalid, "a %s has no place here", p.Type())
}

// expired ends the connection of a token that ended (IoT Hub: 401003 IoTHubUnauthorized).
func (c *client) expired() {
	c.door.log.Debug("hub: token ended", "hub", c.session.Hub().Name(), "device", c.session.Name().String(), "code", 401003)
	c.conn.Cut(hub.TokenExpired)
}

// end ends the connection, its goroutines and its session. Only the reader calls it, as its last act.
func (c *client) end(clean bool, err error) {
	if failed := c.outbox.close(); failed != nil {
		err = failed
	}
	c.stopCommands()
	if c.term != nil {
		c.door.expiry.Remove(c.term)
	}
	_ = c.conn.Close() // before the identity is given back, so that whoever has it next is alone
	who := c.session.Name().String()
	if !clean {
		tell(c.conn, who, err)
	}
	cause := c.conn.Cause()
	if c.conn.Context().Err() != nil {
		cause = hub.Stopping
	}
	if !clean && cause.KeepsWill() {
		c.sendWill()
	}
	c.session.Leave(ending(clean, cause, err))
	c.session.End()
	c.door.log.Debug("hub: disconnected", "hub", c.session.Hub().Name(), "device", who, "clean", clean, "cause", cause.String(), "err", err)
	c.conn.Leave()
}
