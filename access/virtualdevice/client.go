package virtualdevice

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/wire/mqtt"
	"github.com/isthmus-io/isthmus/wire/socketstream"
)

const (
	mqttPort  = "8883"
	httpsPort = "443"

	openTimeout  = 30 * time.Second // to connect, until the subscriptions are granted
	writeTimeout = 30 * time.Second // of one packet
	keepAlive    = time.Minute      // that is promised; a ping goes out each half of it
	tokenLife    = time.Hour
	renewAfter   = 45 * time.Minute // as SDKs do
	lastWord     = time.Second
	maxPacket    = 256 << 10
)

// whenever is a time for a token that is thrown away.
var whenever = time.Unix(0, 0)

// client is a device's connection to its hub: MQTT 3.1.1.
type client struct {
	raw    net.Conn // TCP, or the proxy's
	conn   net.Conn // what MQTT is spoken over
	reader *mqtt.Reader
	write  sync.Mutex // one packet at a time
}

// sign makes a device's token.
func (h *Host) sign(ctx context.Context, i *identity) (string, error) {
	until := h.clk.Now().Add(tokenLife)
	if i.key == "" {
		return sas.SignBy(i.resource(), "", until, func(text []byte) ([]byte, error) { return h.cfg.Workload.sign(ctx, text) })
	}
	return sas.Sign(i.resource(), i.key, "", until)
}

// connect connects a device and subscribes. Inside a WebSocket when web says so. The faults' words are for people.
func (h *Host) connect(ctx context.Context, i *identity, web bool, filters ...string) (*client, error) {
	op := "virtualdevice.connect"
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	token, err := h.sign(ctx, i)
	if err != nil {
		return nil, err
	}
	port := mqttPort
	if web {
		port = httpsPort
	}
	host, port := splitHost(i.dial, port)
	address := net.JoinHostPort(host, port)
	raw, err := h.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, fault.Newf(op, fault.Unavailable, "%s cannot be reached: %s", address, cause(err)).Because(err)
	}
	c := &client{raw: raw}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	fail := func(err error) (*client, error) {
		c.cut()
		if ctx.Err() != nil && fault.KindOf(err) != fault.Unauthenticated {
			return nil, fault.Newf(op, fault.Timeout, "%s did not answer in time", address).Because(err)
		}
		return nil, err
	}
	secure := tls.Client(raw, h.tls(i, host))
	if err := secure.HandshakeContext(ctx); err != nil {
		return fail(tlsFault(err, host, address))
	}
	c.conn = secure
	if web {
		if c.conn, err = h.upgrade(ctx, secure, host); err != nil {
			return fail(err)
		}
	}
	if err := c.introduce(i, token, filters); err != nil {
		return fail(err)
	}
	if !stop() {
		return fail(context.Cause(ctx))
	}
	return c, nil
}

func tlsFault(err error, host, address string) error {
	op := "virtualdevice.connect"
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(op, fault.Unauthenticated, "the certificate of %s at %s is not trusted: %v", host, address, e.Err).
			Advise("give the authority that signed it with ISTHMUS_VIRTUAL_DEVICES_CA").Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "TLS with %s failed: %v", address, err).Because(err)
}

// mqttSocket is where IoT Hub has MQTT in a WebSocket.
const mqttSocket = "/$iothub/websocket"

// upgrade makes a WebSocket of a connection.
func (h *Host) upgrade(ctx context.Context, secure net.Conn, host string) (net.Conn, error) {
	c, _, err := websocket.Dial(ctx, "wss://"+host+mqttSocket, &websocket.DialOptions{ //nolint:bodyclose // it is the connection's
		HTTPClient: only(secure), Subprotocols: []string{"mqtt"}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, fault.Newf("virtualdevice.upgrade", fault.Unavailable, "%s speaks no MQTT in a WebSocket: %v", host, err).Because(err)
	}
	return socketstream.New(context.WithoutCancel(ctx), c, func() { _ = secure.Close() }), nil
}

// userAgent says in a user name what connects.
const userAgent = "/?api-version=2021-04-12&DeviceClientType=isthmus-virtual-device"

// introduce says CONNECT and SUBSCRIBE, and waits for both answers.
func (c *client) introduce(i *identity, token string, filters []string) error {
	op := "virtualdevice.connect"
	c.reader = mqtt.NewReader(c.conn, maxPacket)
	hello := &mqtt.Connect{
		ClientID: i.client(), CleanSession: true, KeepAlive: uint16(keepAlive / time.Second), HasUserName: true, UserName: i.hub + "/" + i.client() + userAgent,
		HasPassword: true, Password: []byte(token),
	}
	if err := c.send(hello); err != nil {
		return err
	}
	first, body, err := c.reader.Next()
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the hub ended the connection without an answer to CONNECT")
	}
	p, err := mqtt.Decode(first, body)
	ack, ok := p.(mqtt.Connack)
	switch {
	case err != nil || !ok:
		return fault.New(op, fault.Unavailable, "what answers is no MQTT").Because(err)
	case ack.Code == mqtt.ServerUnavailable:
		return fault.New(op, fault.Unavailable, "the hub cannot serve the device now")
	case ack.Code != mqtt.Accepted:
		return fault.Newf(op, fault.Unauthenticated, "the hub refused the device with CONNACK code %d", ack.Code).
			Advise("the device is not in the registry or disabled, its key is another, or this machine's clock is wrong: the hub's log says which")
	}
	topics := make([]mqtt.Subscription, len(filters))
	for n, f := range filters {
		topics[n].Filter = f
	}
	if err := c.send(&mqtt.Subscribe{ID: 1, Topics: topics}); err != nil {
		return err
	}
	if first, _, err = c.reader.Next(); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the hub ended the connection at SUBSCRIBE")
	}
	if mqtt.TypeOf(first) != mqtt.SUBACK {
		return fault.New(op, fault.Unavailable, "the hub did not answer SUBSCRIBE")
	}
	return nil
}

func (c *client) send(p mqtt.Packet) error {
	b, err := p.Append(nil)
	if err != nil {
		return fault.Wrap("virtualdevice.send", fault.Invalid, err, "an id or a token is too long for MQTT")
	}
	c.write.Lock()
	defer c.write.Unlock()
	late := time.AfterFunc(writeTimeout, c.cut) // a deadline would stay on a WebSocket
	defer late.Stop()
	if _, err := c.conn.Write(b); err != nil {
		c.cut()
		return fault.Wrap("virtualdevice.send", fault.Unavailable, err, "the connection to the hub broke")
	}
	return nil
}

func (c *client) publish(topic string, payload []byte) error {
	return c.send(&mqtt.Publish{Topic: []byte(topic), Payload: payload})
}

// cut ends the connection.
func (c *client) cut() { _ = c.raw.Close() } // it may be closed already

// serve gives every message that comes to take, which must not wait, until the connection ends, the context does, or the token should be
// renewed, which is no error.
func (h *Host) serve(ctx context.Context, c *client, take func(topic, payload []byte)) error {
	var all sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	all.Go(func() {
		renew, stop := h.clk.After(renewAfter)
		defer stop()
		for ctx.Err() == nil {
			next, stop := h.clk.After(keepAlive / 2)
			select {
			case <-next:
				_ = c.send(mqtt.Bare(mqtt.PINGREQ)) // the reader learns that it broke
			case <-renew:
				cancel(errRenew)
			case <-ctx.Done():
			}
			stop()
		}
		late := time.AfterFunc(lastWord, c.cut)
		_ = c.send(mqtt.Bare(mqtt.DISCONNECT))
		late.Stop()
		c.cut()
	})
	err := c.read(take)
	why := context.Cause(ctx)
	cancel(nil)
	all.Wait()
	if w, ok := c.conn.(socketstream.Stream); ok {
		w.Cut("")
	}
	if errors.Is(why, errRenew) {
		return nil
	}
	return err
}

var errRenew = errors.New("the token is to be renewed")

func (c *client) read(take func(topic, payload []byte)) error {
	op := "virtualdevice.read"
	for {
		silent := time.AfterFunc(keepAlive+keepAlive/2, c.cut)
		first, body, err := c.reader.Next()
		silent.Stop()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return fault.New(op, fault.Unavailable, "the hub ended the connection").Because(err).
				Advise("it does so when the device connects elsewhere too, and when its key is renewed or it is disabled")
		}
		if err != nil {
			return fault.New(op, fault.Unavailable, "the connection to the hub broke").Because(err)
		}
		if mqtt.TypeOf(first) != mqtt.PUBLISH {
			continue
		}
		var p mqtt.Publish
		if err := mqtt.DecodePublish(first, body, &p); err != nil {
			return fault.New(op, fault.Unavailable, "the hub sent what is no MQTT").Because(err)
		}
		take(p.Topic, p.Payload)
	}
}
