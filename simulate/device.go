package simulate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// Config says which device to be. Only ConnectionString is needed.
type Config struct {
	ConnectionString string // HostName=..;DeviceId=..;SharedAccessKey=..
	Port             int    // 8883 when 0
	// Roots are trusted beside nothing else; nil means the system's.
	Roots *x509.CertPool
	// Address is dialled (host:port) instead of the hub's name, as by somebody who has it in a hosts file.
	Address string
	// Resolver looks the hub up; nil means the system's.
	Resolver *net.Resolver
	// Window is how many messages may wait for their acknowledgement at once; 64 when 0.
	Window int
	// TokenLife is how long the SAS token is good; an hour when 0.
	TokenLife time.Duration
	// KeepAlive in seconds; 60 when 0.
	KeepAlive uint16
	Clock     clock.Clock
}

// Device is one connected device.
type Device struct {
	ID      string
	Address string // what the hub's name led to, ip:port

	conn   *tls.Conn
	window chan struct{} // one token for each message in flight
	done   chan struct{} // closed when the reader has ended
	pinger sync.WaitGroup

	send sync.Mutex // guards buf and writes to conn
	buf  []byte

	mu      sync.Mutex // guards the fields below
	next    uint16
	waiting map[uint16]chan<- error
	err     error
}

// Dial looks the hub up, connects and waits for CONNACK. A refusal by the hub is Unauthenticated.
func Dial(ctx context.Context, cfg Config) (*Device, error) {
	op := "simulate.Dial"
	cs, err := sas.ParseConnectionString(cfg.ConnectionString)
	if err != nil {
		return nil, err
	}
	if cs.DeviceID == "" {
		return nil, fault.New(op, fault.Invalid, "the connection string names no device").Advise("take the one that belongs to a device: it has DeviceId=")
	}
	clk := cfg.Clock
	if clk == nil {
		clk = clock.System{}
	}
	life := cfg.TokenLife
	if life == 0 {
		life = time.Hour
	}
	token, err := sas.Sign(cs.HostName+"/devices/"+cs.DeviceID, cs.Key, "", clk.Now().Add(life))
	if err != nil {
		return nil, err
	}
	port := cfg.Port
	if port == 0 {
		port = 8883
	}
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{Resolver: cfg.Resolver, Timeout: 15 * time.Second},
		Config:    &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots, ServerName: cs.HostName},
	}
	addr := cfg.Address
	if addr == "" {
		addr = net.JoinHostPort(cs.HostName, strconv.Itoa(port))
	}
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "the hub cannot be reached at "+cs.HostName+": "+err.Error())
	}
	window := cfg.Window
	if window == 0 {
		window = 64
	}
	d := &Device{ID: cs.DeviceID, Address: c.RemoteAddr().String(), conn: c.(*tls.Conn), window: make(chan struct{}, window), done: make(chan struct{}), waiting: map[uint16]chan<- error{}}
	keepAlive := cfg.KeepAlive
	if keepAlive == 0 {
		keepAlive = 60
	}
	if err := d.handshake(ctx, cs, token, keepAlive); err != nil {
		c.Close()
		return nil, err
	}
	return d, nil
}

func (d *Device) handshake(ctx context.Context, cs sas.ConnectionString, token string, keepAlive uint16) error {
	op := "simulate.Dial"
	stop := context.AfterFunc(ctx, func() { d.conn.Close() })
	defer stop()
	connect := &mqtt.Connect{
		ClientID: cs.DeviceID, CleanSession: true, KeepAlive: keepAlive, HasUserName: true, HasPassword: true,
		UserName: cs.HostName + "/" + cs.DeviceID + "/?api-version=2021-04-12&DeviceClientType=isthmus-simulate", Password: []byte(token),
	}
	b, err := connect.Append(nil)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the device's id or token is too long")
	}
	if _, err := d.conn.Write(b); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the connection broke before the hub answered")
	}
	r := mqtt.NewReader(d.conn, 256<<10)
	first, body, err := r.Next()
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the hub closed the connection without an answer")
	}
	p, err := mqtt.Decode(first, body)
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the hub's answer is no MQTT")
	}
	ack, ok := p.(mqtt.Connack)
	if !ok {
		return fault.Newf(op, fault.Unavailable, "the hub answered CONNECT with %s", mqtt.TypeOf(first))
	}
	if ack.Code != mqtt.Accepted {
		return fault.Newf(op, fault.Unauthenticated, "the hub refused %s with CONNACK code %d", d.ID, ack.Code).
			Advise("the key, the clock, or the way in is wrong: the hub's log says which")
	}
	go d.read(r)
	d.pinger.Go(func() { d.ping(time.Duration(keepAlive) * time.Second / 2) })
	return nil
}

// read completes sends as their acknowledgements come; it ends with the connection.
func (d *Device) read(r *mqtt.Reader) {
	defer close(d.done)
	for {
		first, body, err := r.Next()
		if err == nil && mqtt.TypeOf(first) == mqtt.PUBACK {
			var p mqtt.Packet
			if p, err = mqtt.Decode(first, body); err == nil {
				d.acknowledge(p.(mqtt.Ack).ID)
				continue
			}
		}
		if err != nil {
			d.fail(err)
			return
		}
	}
}

func (d *Device) acknowledge(id uint16) {
	d.mu.Lock()
	ch, ok := d.waiting[id]
	delete(d.waiting, id)
	d.mu.Unlock()
	if ok {
		<-d.window
		ch <- nil
	}
}

func (d *Device) fail(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = fault.New("simulate.Send", fault.Unavailable, "the connection to the hub ended").Because(err)
	}
	d.conn.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	for id, ch := range d.waiting {
		delete(d.waiting, id)
		ch <- err
	}
}

// ping keeps the connection alive while nothing is sent; it ends with the reader.
func (d *Device) ping(every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-d.done:
			return
		case <-t.C:
			_ = d.write(func(b []byte) ([]byte, error) { return mqtt.Bare(mqtt.PINGREQ).Append(b) })
		}
	}
}

func (d *Device) write(fill func([]byte) ([]byte, error)) error {
	d.send.Lock()
	defer d.send.Unlock()
	b, err := fill(d.buf[:0])
	if err != nil {
		return err
	}
	d.buf = b
	_, err = d.conn.Write(b)
	return err
}

// Send publishes one message with QoS 1 and returns once the hub has acknowledged it, which is its promise that it is durable.
func (d *Device) Send(ctx context.Context, body []byte, properties map[string]string) error {
	ch, err := d.Start(ctx, body, properties)
	if err != nil {
		return err
	}
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Start publishes one message and returns a channel that receives nil once it is acknowledged, or why it never will be. It blocks
// while the window is full.
func (d *Device) Start(ctx context.Context, body []byte, properties map[string]string) (<-chan error, error) {
	select {
	case d.window <- struct{}{}:
	case <-d.done:
		return nil, d.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ch := make(chan error, 1)
	d.mu.Lock()
	if d.err != nil {
		d.mu.Unlock()
		return nil, d.err
	}
	for {
		d.next++
		if _, taken := d.waiting[d.next]; d.next != 0 && !taken {
			break
		}
	}
	id := d.next
	d.waiting[id] = ch
	d.mu.Unlock()
	p := mqtt.Publish{Topic: []byte("devices/" + d.ID + "/messages/events/" + bag(properties)), Payload: body, ID: id, QoS: 1}
	if err := d.write(p.Append); err != nil {
		d.conn.Close()
		return nil, fault.Wrap("simulate.Send", fault.Unavailable, err, "the connection to the hub broke")
	}
	return ch, nil
}

// bag renders properties as the SDKs do: percent-encoded, sorted here so that equal messages are equal bytes.
func bag(properties map[string]string) string {
	keys := make([]string, 0, len(properties))
	for k := range properties {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(strings.ReplaceAll(url.QueryEscape(k), "+", "%20"))
		b.WriteByte('=')
		b.WriteString(strings.ReplaceAll(url.QueryEscape(properties[k]), "+", "%20"))
	}
	return b.String()
}

// Done is closed when the connection has ended; Err then says why.
func (d *Device) Done() <-chan struct{} { return d.done }

// Err returns why the connection ended, nil while it lives.
func (d *Device) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Close says DISCONNECT and waits until the connection's goroutine has ended.
func (d *Device) Close() {
	_ = d.write(func(b []byte) ([]byte, error) { return mqtt.Bare(mqtt.DISCONNECT).Append(b) })
	d.conn.Close()
	<-d.done
	d.pinger.Wait()
}
