package connection

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// Sink is told what comes. Its methods are called by the connection's goroutine and must not wait for it.
type Sink interface {
	Acknowledged(c *Conn, id uint16)
	// Ended says why the connection is over; after Close it says so, too.
	Ended(c *Conn, err error)
}

// Conn is one connection of a device.
type Conn struct {
	way  *Way
	raw  net.Conn // TCP
	net  net.Conn // what MQTT is spoken over
	sink Sink
	done chan struct{}

	heard atomic.Int64 // when bytes came last, in Unix nanoseconds

	write sync.Mutex // one packet at a time
}

// buffers serve one write.
type buffers struct{ topic, packet []byte }

// writeTimeout ends a connection whose peer takes nothing.
const writeTimeout = 30 * time.Second

// keptBuffer is the largest one that goes back to the pool.
const keptBuffer = 32 << 10

// Publish writes one message with QoS 1; dup marks a repetition (MQTT-3.3.1-1). bag is a property bag, already encoded.
func (c *Conn) Publish(device string, bag, body []byte, id uint16, dup bool) error {
	b := c.way.buffers.Get().(*buffers)
	b.topic = append(append(append(append(b.topic[:0], "devices/"...), device...), "/messages/events/"...), bag...)
	packet, err := (&mqtt.Publish{Topic: b.topic, Payload: body, ID: id, QoS: 1, Dup: dup}).Append(b.packet[:0])
	if err != nil {
		return fault.Wrap("connection.Publish", fault.TooLarge, err, "the message's properties are too long for a topic")
	}
	if b.packet = packet; cap(packet) > keptBuffer {
		b.packet = nil
	}
	err = c.send(packet)
	c.way.buffers.Put(b)
	return err
}

// Ping asks whether the hub is there.
func (c *Conn) Ping() error {
	b, _ := mqtt.Bare(mqtt.PINGREQ).Append(nil) // two bytes always fit
	return c.send(b)
}

func (c *Conn) send(packet []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.raw.SetWriteDeadline(time.Now().Add(writeTimeout)) // one that is closed fails below
	if _, err := c.net.Write(packet); err != nil {
		_ = c.raw.Close() // the reader tells the sink
		return fault.Wrap("connection.send", fault.Unavailable, err, "the connection to the hub broke")
	}
	return nil
}

// Heard is when bytes came last; zero for never.
func (c *Conn) Heard() time.Time {
	if n := c.heard.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// Address is where the connection leads to, ip:port.
func (c *Conn) Address() string { return c.raw.RemoteAddr().String() }

// Close says DISCONNECT and ends the connection. It does not wait; Done does.
func (c *Conn) Close() {
	b, _ := mqtt.Bare(mqtt.DISCONNECT).Append(nil) // two bytes always fit
	_ = c.send(b)                                  // it may be gone already
	_ = c.raw.Close()
}

// Cut ends the connection as a power failure does: the hub hears nothing but a reset.
func (c *Conn) Cut() {
	if t, ok := c.raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // no port is left waiting, either
	}
	_ = c.raw.Close()
}

// Done is closed after the sink was told that the connection ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// read tells the sink of acknowledgements until the connection ends.
func (c *Conn) read() {
	err := c.packets()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = fault.New("connection.read", fault.Unavailable, "the connection to the hub ended").Because(err)
	}
	if c.way.cfg.WebSocket {
		_ = c.net.Close() // it has goroutines of its own
	}
	_ = c.raw.Close()
	c.sink.Ended(c, err)
	close(c.done)
}

// packets reads what a hub sends to a client that only publishes: acknowledgements and answers to pings. Anything longer is passed
// over, so that 64 bytes are enough for a connection.
func (c *Conn) packets() error {
	var buf [64]byte
	have, skip := 0, 0
	for {
		n, err := c.net.Read(buf[have:])
		if n == 0 && err != nil {
			return err
		}
		c.heard.Store(c.way.cfg.Now().UnixNano())
		have += n
		at := 0
		for at < have {
			if skip > 0 {
				k := min(skip, have-at)
				skip -= k
				at += k
				continue
			}
			used, rest, err := c.packet(buf[at:have])
			if err != nil {
				return err
			}
			if used == 0 {
				break
			}
			at, skip = at+used, rest
		}
		have = copy(buf[:], buf[at:have])
	}
}

// packet takes one packet, or the head of one to be passed over; used is 0 when more bytes are needed.
func (c *Conn) packet(b []byte) (used, skip int, err error) {
	length := 0
	for i := 1; ; i++ { // MQTT 2.2.3
		if i >= len(b) {
			return 0, 0, nil
		}
		length |= int(b[i]&127) << (7 * (i - 1))
		if b[i] < 128 {
			used = i + 1
			break
		}
		if i == 4 {
			return 0, 0, fault.New("connection.read", fault.Unavailable, "the hub sent what is no MQTT")
		}
	}
	if mqtt.TypeOf(b[0]) != mqtt.PUBACK {
		return used, length, nil
	}
	if length != 2 {
		return 0, 0, fault.New("connection.read", fault.Unavailable, "the hub sent an acknowledgement that is none")
	}
	if len(b) < used+2 {
		return 0, 0, nil
	}
	c.sink.Acknowledged(c, uint16(b[used])<<8|uint16(b[used+1]))
	return used + 2, 0, nil
}
