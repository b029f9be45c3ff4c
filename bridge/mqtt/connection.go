package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

const (
	connectTime        = 10 * time.Second
	writeTime          = 30 * time.Second // until a broker that takes no bytes is given up
	ackTime            = 30 * time.Second // and one that acknowledges nothing
	keepAliveTime      = 60 * time.Second
	mostUnacknowledged = 256
	flushAt            = 32 << 10
)

// connection is one session with the broker, always a clean one.
type connection struct {
	net.Conn
	old       bool // 3.1.1
	limits    reply
	keepAlive time.Duration // 0: the broker does not want to hear

	replies chan reply // PUBACKs
	done    chan struct{}
	err     error // why it ended; may be read when done is closed

	all    sync.WaitGroup
	once   sync.Once
	stop   chan struct{}
	silent atomic.Bool // nothing was heard since the last PINGREQ

	writing sync.Mutex // guards writes

	id  uint16 // last packet identifier; of the lane, as the field below
	out []byte // written down and not sent
}

// end closes the connection; it may be called by anybody, more than once.
func (c *connection) end() {
	c.once.Do(func() {
		close(c.stop)
		_ = c.Close()
	})
}

// connect opens a session: of MQTT 5, or of 3.1.1 with a broker that says it knows only that.
func (d *destination) connect(ctx context.Context, id string) (*connection, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectTime,
		fault.Newf("mqtt.Connect", fault.Timeout, "the broker behind %s did not answer within %v", d.end.Name, connectTime))
	defer cancel()
	c, err := d.attempt(ctx, id, false)
	if errors.Is(err, errVersion) {
		c, err = d.attempt(ctx, id, true)
		if err == nil && d.warned.CompareAndSwap(false, true) {
			d.log.Warn("the broker speaks MQTT 3.1.1 only, so messages carry no marks of repeats: put {origin} and {repeat} into the topic if readers need them",
				"bridge", d.name)
		}
	}
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return c, err
}

var errVersion = errors.New("the broker speaks another version of MQTT")

func (d *destination) attempt(ctx context.Context, id string, old bool) (*connection, error) {
	const op = "mqtt.Connect"
	port := d.end.Port(1883, 8883)
	if d.spec.TLS {
		port = d.end.Port(8883, 1883)
	}
	raw, err := d.end.To(ctx, port)
	if err != nil {
		if _, ok := errors.AsType[*fault.Error](err); ok {
			return nil, err
		}
		return nil, fault.Newf(op, fault.Unavailable, "the broker behind %s cannot be reached", d.end.Name).Because(err)
	}
	if d.spec.TLS {
		secure := tls.Client(raw, d.end.Config(""))
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
				return nil, fault.Newf(op, fault.Unavailable, "what is behind the endpoint %s does not prove to be %s", d.end.Name, d.end.HostName).
					Advise("its certificate has another name or is signed by nobody this machine trusts").Because(err)
			}
			return nil, fault.Newf(op, fault.Unavailable, "the broker behind %s did not speak TLS", d.end.Name).
				Advise("its port may be one without TLS").Because(err)
		}
		raw = secure
	}
	c := &connection{
		Conn: raw, old: old, keepAlive: keepAliveTime,
		replies: make(chan reply, mostUnacknowledged), done: make(chan struct{}), stop: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, c.end)
	reader := mqtt.NewReader(raw, maxRemainingPacket)
	err = c.hello(reader, d, id)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.end()
		return nil, err
	}
	c.all.Go(func() { c.read(reader) })
	if c.keepAlive > 0 {
		c.all.Go(func() { c.keep(d.clk) })
	}
	return c, nil
}

// hello says CONNECT and hears CONNACK.
func (c *connection) hello(reader *mqtt.Reader, d *destination, id string) error {
	const op = "mqtt.Connect"
	var b []byte
	seconds := uint16(keepAliveTime / time.Second)
	if c.old {
		connect := &mqtt.Connect{
			ClientID: id, CleanSession: true, KeepAlive: seconds,
			HasUserName: d.user != "", UserName: d.user, HasPassword: d.user != "" && d.hasPassword, Password: []byte(d.password),
		}
		var err error
		if b, err = connect.Append(nil); err != nil {
			return fault.New(op, fault.Invalid, "the user or the password is too long for MQTT")
		}
	} else {
		b = appendConnect5(nil, id, d.user, d.password, d.hasPassword, seconds)
	}
	if _, err := c.Conn.Write(b); err != nil {
		return fault.Newf(op, fault.Unavailable, "the broker behind %s broke the connection", d.end.Name).Because(err)
	}
	first, body, err := reader.Next()
	if err != nil {
		f := fault.Newf(op, fault.Unavailable, "what is behind %s ended the connection instead of an answer to CONNECT", d.end.Name).Because(err)
		if !d.spec.TLS {
			f = f.Advise("it may be no MQTT broker, or expect tls")
		}
		return f
	}
	r, err := c.parse(first, body)
	if err != nil || r.kind != mqtt.CONNACK {
		return fault.Newf(op, fault.Unavailable, "what is behind %s does not answer as an MQTT broker", d.end.Name).Because(err)
	}
	switch {
	case !c.old && (r.code == byte(mqtt.UnacceptableVersion) || r.code == codeVersion):
		return errVersion
	case r.code != 0:
		return refused(op, d.end.Name, r, c.old)
	case r.noQoS:
		return fault.Newf(op, fault.Invalid, "the broker behind %s takes no messages of quality of service 1, so nothing can be known of them", d.end.Name)
	case r.noRetain && d.spec.Retain:
		return fault.Newf(op, fault.Invalid, "the broker behind %s keeps no messages", d.end.Name).Advise("take retain out of the bridge's destination")
	}
	if r.keepAlive >= 0 {
		c.keepAlive = min(c.keepAlive, time.Duration(r.keepAlive)*time.Second)
	}
	c.limits = r
	return nil
}

// parse reads a packet of the version that is spoken.
func (c *connection) parse(first byte, body []byte) (reply, error) {
	if !c.old {
		return readReply(first, body)
	}
	p, err := mqtt.Decode(first, body)
	r := reply{window: mostUnacknowledged, keepAlive: -1}
	switch p := p.(type) {
	case mqtt.Connack:
		r.kind, r.code = mqtt.CONNACK, byte(p.Code)
	case mqtt.Ack:
		r.kind, r.id = p.Of, p.ID
	case mqtt.Bare:
		r.kind = mqtt.Type(p)
	case nil:
		return r, err
	default:
		r.kind = p.Type()
	}
	return r, nil
}

// read gives PUBACKs on until the connection ends.
func (c *connection) read(reader *mqtt.Reader) {
	defer close(c.done)
	defer c.end()
	for {
		first, body, err := reader.Next()
		if err != nil {
			c.err = err
			if errors.Is(err, net.ErrClosed) {
				c.err = io.ErrClosedPipe
			}
			return
		}
		c.silent.Store(false)
		r, err := c.parse(first, body)
		switch {
		case err != nil:
			c.err = err
			return
		case r.kind == mqtt.PUBACK:
			select {
			case c.replies <- r:
			case <-c.stop:
				c.err = io.ErrClosedPipe
				return
			}
		case r.kind == mqtt.DISCONNECT:
			c.err = &farewell{r}
			return
		case r.kind != mqtt.PINGRESP:
			c.err = errProtocol
			return
		}
	}
}

// farewell is the DISCONNECT of a broker.
type farewell struct{ reply }

func (f *farewell) Error() string { return "the broker said DISCONNECT" }

// keep says PINGREQ twice in each keep-alive time, and ends a connection on which nothing answers.
func (c *connection) keep(clk clock.Clock) {
	for {
		fired, stop := clk.After(c.keepAlive / 2)
		select {
		case <-fired:
		case <-c.stop:
			stop()
			return
		}
		if c.silent.Swap(true) {
			c.end()
			return
		}
		b, _ := mqtt.Bare(mqtt.PINGREQ).Append(nil)
		if c.send(b) != nil {
			c.end()
			return
		}
	}
}

func (c *connection) send(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(writeTime)) // of a socket, which is the kernel's
	_, err := c.Write(b)
	return err
}

// flush sends what is written down.
func (c *connection) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	err := c.send(c.out)
	c.out = c.out[:0]
	return err
}

// goodbye ends the connection as the standard asks for, and waits until nothing of it runs.
func (c *connection) goodbye() {
	select {
	case <-c.done:
	default:
		b, _ := mqtt.Bare(mqtt.DISCONNECT).Append(nil)
		c.writing.Lock()
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(b)
		c.writing.Unlock()
	}
	c.end()
	c.all.Wait()
}
