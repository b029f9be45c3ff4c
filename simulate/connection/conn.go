package connection

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Sink is told what comes. Its methods are called by the connection's goroutine and must not wait for it.
type Sink interface {
	Acknowledged(c *Conn, id uint16)
	// Refused says that the hub turned a message down, and why; again, that it may take it later.
	Refused(c *Conn, id uint16, err error, again bool)
	// Ready ends the wait that began when Publish returned ErrNotNow.
	Ready(c *Conn)
	// Renewed says that the token which Renew gave the hub counts.
	Renewed(c *Conn)
	// Ended says why the connection is over; after Close it says so, too. Unauthenticated means that the hub does not let the device in,
	// which HTTPS tells no earlier; ErrIdle that the hub needed the connection's place while nothing was sent.
	Ended(c *Conn, err error)
}

var (
	// ErrNotNow is what Publish and Renew return when the hub has given no leave to send more. Publish has the sink told when it has.
	ErrNotNow = errors.New("connection: the hub takes nothing more for now")
	// ErrIdle ends a connection that was at rest, as HTTP's may be at any time (RFC 9112, 9.5).
	ErrIdle = errors.New("connection: the hub closed a connection at rest")
)

// talk is what is spoken on a connection. introduce comes first, then read on the connection's own goroutine; the others may be called from
// any, after introduce.
type talk interface {
	introduce(ctx context.Context, hello Hello) error
	// publish writes a message, or returns ErrNotNow and has written nothing.
	publish(b *buffers, m message) error
	// ping writes what makes the hub be heard.
	ping() error
	// beat is the silence after which ping is due; 0 for never.
	beat() time.Duration
	// renew gives the hub a new token; done tells that nothing has to be awaited.
	renew(token string) (done bool, err error)
	// leave says farewell, if there is a word for it.
	leave()
	// read tells the sink what comes until the connection ends.
	read() error
}

// message is what publish writes.
type message struct {
	device    string
	bag, body []byte
	id        uint16
	dup       bool
}

// Conn is one connection of a device.
type Conn struct {
	way  *Way
	raw  net.Conn // TCP
	net  net.Conn // what is spoken over
	talk talk
	sink Sink
	done chan struct{}

	heard atomic.Int64 // when bytes came last, in Unix nanoseconds

	write sync.Mutex // one packet at a time
}

// buffers serve one write.
type buffers struct {
	head, packet []byte
	transfer     amqp.Transfer
	tag          [4]byte
}

// writeTimeout ends a connection whose peer takes nothing.
const writeTimeout = 30 * time.Second

// keptBuffer is the largest one that goes back to the pool.
const keptBuffer = 32 << 10

// Publish writes one message that the hub acknowledges (MQTT: with QoS 1); dup marks a repetition where the protocol has a mark
// (MQTT-3.3.1-1). bag is a property bag of MQTT, already encoded. bag and body are good again when it returns. ErrNotNow means that
// nothing was written, TooLarge and Invalid that the protocol cannot carry this message; other errors end the connection.
func (c *Conn) Publish(device string, bag, body []byte, id uint16, dup bool) error {
	b := c.way.buffers.Get().(*buffers)
	err := c.talk.publish(b, message{device, bag, body, id, dup})
	if cap(b.packet) > keptBuffer {
		b.packet = nil
	}
	c.way.buffers.Put(b)
	return err
}

// Ping makes the hub be heard: MQTT asks it; AMQP keeps the connection from being idle, as the hub does by itself; HTTPS has nothing to
// ask with, and takes the connection for alive.
func (c *Conn) Ping() error { return c.talk.ping() }

// Beat is the silence of ours after which Ping is due; 0 for never.
func (c *Conn) Beat() time.Duration { return c.talk.beat() }

// Renews tells whether Renew can be used. MQTT takes a token with each connection only.
func (c *Conn) Renews() bool { return c.way.cfg.Protocol.Renews() }

// Renew gives the hub a new token. Unless done is true, the sink is told when it counts; a hub that refuses it ends the connection.
// ErrNotNow means that nothing was written, and that it may be tried again.
func (c *Conn) Renew(token string) (done bool, err error) { return c.talk.renew(token) }

func (c *Conn) send(packet []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	return c.put(packet)
}

// put writes; the write lock is held.
func (c *Conn) put(packet []byte) error {
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

// Close says farewell and ends the connection. It does not wait; Done does.
func (c *Conn) Close() {
	c.talk.leave()
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

// read tells the sink what comes until the connection ends.
func (c *Conn) read() {
	err := c.talk.read()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = fault.New("connection.read", fault.Unavailable, "the connection to the hub ended").Because(err)
	}
	if c.way.cfg.Protocol.WebSocket() {
		_ = c.net.Close() // it has goroutines of its own
	}
	_ = c.raw.Close()
	c.sink.Ended(c, err)
	close(c.done)
}

// ear reads from a connection and notes that the hub was heard.
type ear Conn

// Read implements [io.Reader].
func (e *ear) Read(b []byte) (int, error) {
	n, err := e.net.Read(b)
	if n > 0 {
		e.heard.Store(e.way.cfg.Now().UnixNano())
	}
	return n, err
}
