package simulate

import (
	"context"
	"crypto/x509"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/simulate/connection"
	"github.com/isthmus-io/isthmus/simulate/message"
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

// Device is one connected device, driven by hand; a [Fleet] drives thousands.
type Device struct {
	ID      string
	Address string // what the hub's name led to, ip:port

	conn   *connection.Conn
	window chan struct{} // one token for each message in flight
	pinger sync.WaitGroup

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
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.TokenLife == 0 {
		cfg.TokenLife = time.Hour
	}
	if cfg.Window == 0 {
		cfg.Window = 64
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = 60
	}
	token, err := sas.Sign(cs.HostName+"/devices/"+cs.DeviceID, cs.Key, "", cfg.Clock.Now().Add(cfg.TokenLife))
	if err != nil {
		return nil, err
	}
	way := connection.New(connection.Config{Host: cs.HostName, Address: cfg.Address, Port: cfg.Port, Roots: cfg.Roots, Resolver: cfg.Resolver})
	d := &Device{ID: cs.DeviceID, window: make(chan struct{}, cfg.Window), waiting: map[uint16]chan<- error{}}
	d.conn, err = way.Open(ctx, connection.Hello{Device: cs.DeviceID, Token: token, KeepAlive: cfg.KeepAlive}, (*deviceSink)(d))
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	d.Address = d.conn.Address()
	d.pinger.Go(func() { d.ping(cfg.Clock, time.Duration(cfg.KeepAlive)*time.Second/2) })
	return d, nil
}

// deviceSink keeps what the connection calls out of the device's own methods.
type deviceSink Device

// Acknowledged completes a send.
func (s *deviceSink) Acknowledged(_ *connection.Conn, id uint16) { s.complete(id, nil) }

func (s *deviceSink) complete(id uint16, err error) {
	s.mu.Lock()
	ch, ok := s.waiting[id]
	delete(s.waiting, id)
	s.mu.Unlock()
	if ok {
		<-s.window
		ch <- err
	}
}

// Refused fails a send; MQTT has no way to say so.
func (s *deviceSink) Refused(_ *connection.Conn, id uint16, err error, _ bool) { s.complete(id, err) }

// Ready and Renewed have no meaning for MQTT.
func (*deviceSink) Ready(*connection.Conn)   {}
func (*deviceSink) Renewed(*connection.Conn) {}

// Ended fails all sends that wait.
func (s *deviceSink) Ended(_ *connection.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	for id, ch := range s.waiting {
		delete(s.waiting, id)
		ch <- err
	}
}

// ping keeps the connection alive while nothing is sent; it ends with the connection.
func (d *Device) ping(clk clock.Clock, every time.Duration) {
	for {
		fired, stop := clk.After(every)
		select {
		case <-d.conn.Done():
			stop()
			return
		case <-fired:
			_ = d.conn.Ping() // what is wrong, the reader tells
		}
	}
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
	case <-d.conn.Done():
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
	if err := d.conn.Publish(d.ID, bag(properties), body, id, false); err != nil {
		d.conn.Cut()
		return nil, fault.Wrap("simulate.Send", fault.Internal, err, "")
	}
	return ch, nil
}

// bag renders properties as the SDKs do: percent-encoded, sorted here so that equal messages are equal bytes.
func bag(properties map[string]string) []byte {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(properties)) {
		b = message.AppendProperty(b, k, properties[k])
	}
	return b
}

// Done is closed when the connection has ended; Err then says why.
func (d *Device) Done() <-chan struct{} { return d.conn.Done() }

// Err returns why the connection ended, nil while it lives.
func (d *Device) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Close says DISCONNECT and waits until the connection's goroutine has ended.
func (d *Device) Close() {
	d.conn.Close()
	<-d.conn.Done()
	d.pinger.Wait()
}
