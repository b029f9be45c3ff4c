package device

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// Config is a device and how it connects.
type Config struct {
	Address string      // host:port of the MQTT door
	TLS     *tls.Config // ServerName is the hub; with a certificate where the device proves itself by one
	Source  string      // address to dial from; the system's choice when empty
	ID      string      // "device" or "device/module"
	Key     string      // for a token of its own; empty for none
	Token   string      // instead of one made with Key
	Persist bool        // clean session 0
	Silence uint16      // keep-alive in seconds, which the device does not keep

	Desired func(version int64, patch []byte)                                         // nil: it does not subscribe
	Method  func(name string, payload []byte) (status int, answer []byte, speak bool) // nil: it does not subscribe
	Command func(Command) (ack bool)                                                  // nil: it does not subscribe
}

// Command is a cloud-to-device message as it came.
type Command struct {
	ID         uint16 // packet identifier
	Dup        bool
	MessageID  string
	Properties map[string]string
	Body       []byte
}

// Refused is a CONNECT that was answered with something other than 0.
type Refused mqtt.ReturnCode

// Error implements error.
func (r Refused) Error() string { return fmt.Sprintf("CONNECT is answered with %d", byte(r)) }

// ErrEnded is why something cannot be done any more.
var ErrEnded = errors.New("the connection has ended")

// Device is a connected device.
type Device struct {
	net.Conn
	Present bool // CONNACK said that there was a session

	cfg   Config
	own   string // beginning of its topics
	ended chan struct{}

	writing sync.Mutex // one packet after the other

	mu   sync.Mutex // guards the fields below
	next uint16
	acks map[uint16]func()
	twin map[string]chan answer
	rid  int
}

// answer is what came on a topic of answers.
type answer struct {
	status int
	query  url.Values
	body   []byte
}

// Sign makes a token for a device with its key, good for an hour.
func Sign(hub, id, key string) (string, error) {
	d, m, module := strings.Cut(id, "/")
	resource := hub + "/devices/" + d
	if module {
		resource += "/modules/" + m
	}
	return sas.Sign(resource, key, "", time.Now().Add(time.Hour))
}

// Dial connects, is accepted, and has subscribed to what there are functions for.
func Dial(ctx context.Context, cfg Config) (*Device, error) {
	hub := cfg.TLS.ServerName
	token := cfg.Token
	if token == "" && cfg.Key != "" {
		var err error
		if token, err = Sign(hub, cfg.ID, cfg.Key); err != nil {
			return nil, err
		}
	}
	c, err := dialTLS(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d, err := Over(c, cfg, hub, token)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return d, nil
}

func dialTLS(ctx context.Context, cfg Config) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	if cfg.Source != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(cfg.Source)}
	}
	return (&tls.Dialer{NetDialer: dialer, Config: cfg.TLS}).DialContext(ctx, "tcp", cfg.Address)
}

// Over is Dial on a connection that is there. It does not close it when it fails.
func Over(c net.Conn, cfg Config, hub, token string) (*Device, error) {
	id, module, isModule := strings.Cut(cfg.ID, "/")
	d := &Device{Conn: c, cfg: cfg, own: "devices/" + id, ended: make(chan struct{}), acks: map[uint16]func(){}, twin: map[string]chan answer{}}
	if isModule {
		d.own += "/modules/" + module
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if err := d.Say(&mqtt.Connect{
		ClientID: cfg.ID, CleanSession: !cfg.Persist, KeepAlive: cfg.Silence, HasUserName: true, UserName: hub + "/" + cfg.ID + "/?api-version=2021-04-12",
		HasPassword: token != "", Password: []byte(token),
	}); err != nil {
		return nil, err
	}
	r := mqtt.NewReader(c, 1<<20)
	p, err := read(r)
	if err != nil {
		return nil, err
	}
	ack, ok := p.(mqtt.Connack)
	if !ok {
		return nil, fmt.Errorf("CONNECT is answered with %v", p.Type())
	}
	if ack.Code != mqtt.Accepted {
		return nil, Refused(ack.Code)
	}
	d.Present = ack.SessionPresent
	subscribed := make(chan struct{})
	d.acks[1] = func() { close(subscribed) }
	d.next = 1
	_ = c.SetDeadline(time.Time{})
	go d.read(r)
	if err := d.Say(&mqtt.Subscribe{ID: 1, Topics: d.topics()}); err != nil {
		d.Close()
		return nil, err
	}
	select {
	case <-subscribed:
		return d, nil
	case <-d.ended:
		return nil, ErrEnded
	}
}

func (d *Device) topics() []mqtt.Subscription {
	out := []mqtt.Subscription{{Filter: "$iothub/twin/res/#"}}
	if d.cfg.Desired != nil {
		out = append(out, mqtt.Subscription{Filter: "$iothub/twin/PATCH/properties/desired/#"})
	}
	if d.cfg.Method != nil {
		out = append(out, mqtt.Subscription{Filter: "$iothub/methods/POST/#"})
	}
	if d.cfg.Command != nil {
		out = append(out, mqtt.Subscription{Filter: d.own + "/messages/devicebound/#", QoS: 1})
	}
	return out
}

func read(r *mqtt.Reader) (mqtt.Packet, error) {
	first, body, err := r.Next()
	if err != nil {
		return nil, err
	}
	return mqtt.Decode(first, body)
}

// Say writes a packet, whatever it is.
func (d *Device) Say(p mqtt.Packet) error {
	b, err := p.Append(nil)
	if err != nil {
		return err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	_, err = d.Write(b)
	return err
}

// Ended is closed when the connection is over.
func (d *Device) Ended() <-chan struct{} { return d.ended }

// Close ends the connection without a word, and returns when nothing of the device goes on.
func (d *Device) Close() {
	_ = d.Conn.Close()
	<-d.ended
}

// Leave ends the connection with a DISCONNECT.
func (d *Device) Leave() {
	_ = d.Say(mqtt.Bare(mqtt.DISCONNECT))
	d.Close()
}

func (d *Device) read(r *mqtt.Reader) {
	defer close(d.ended)
	defer d.Conn.Close()
	for {
		p, err := read(r)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case mqtt.Ack:
			d.acknowledged(p.ID)
		case *mqtt.Suback:
			d.acknowledged(p.ID)
		case *mqtt.Publish:
			if d.heard(p) != nil {
				return
			}
		}
	}
}

func (d *Device) acknowledged(id uint16) {
	d.mu.Lock()
	acked := d.acks[id]
	delete(d.acks, id)
	d.mu.Unlock()
	if acked != nil {
		acked()
	}
}

func (d *Device) heard(p *mqtt.Publish) error {
	topic := string(p.Topic)
	if rest, ok := strings.CutPrefix(topic, "$iothub/twin/res/"); ok {
		d.answered(rest, p.Payload)
		return nil
	}
	if rest, ok := strings.CutPrefix(topic, "$iothub/twin/PATCH/properties/desired/?$version="); ok {
		version, err := strconv.ParseInt(rest, 10, 64)
		d.cfg.Desired(version, append([]byte(nil), p.Payload...))
		return err
	}
	if rest, ok := strings.CutPrefix(topic, "$iothub/methods/POST/"); ok {
		name, rid, _ := strings.Cut(rest, "/?$rid=")
		status, body, speak := d.cfg.Method(name, append([]byte(nil), p.Payload...))
		if !speak {
			return nil
		}
		return d.Say(&mqtt.Publish{Topic: fmt.Appendf(nil, "$iothub/methods/res/%d/?$rid=%s", status, rid), Payload: body})
	}
	bag, ok := strings.CutPrefix(topic, d.own+"/messages/devicebound/")
	if !ok {
		return fmt.Errorf("a message comes on %q", topic)
	}
	c := Command{ID: p.ID, Dup: p.Dup, Properties: map[string]string{}, Body: append([]byte(nil), p.Payload...)}
	for field := range strings.SplitSeq(bag, "&") {
		key, value, _ := strings.Cut(field, "=")
		key, _ = url.PathUnescape(key)
		c.Properties[key], _ = url.PathUnescape(value)
	}
	c.MessageID = c.Properties["$.mid"]
	if d.cfg.Command(c) {
		return d.Say(mqtt.Ack{Of: mqtt.PUBACK, ID: p.ID})
	}
	return nil
}

func (d *Device) answered(rest string, body []byte) {
	code, query, _ := strings.Cut(rest, "/?")
	a := answer{body: append([]byte(nil), body...)}
	a.status, _ = strconv.Atoi(code)
	a.query, _ = url.ParseQuery(query)
	d.mu.Lock()
	waiting := d.twin[a.query.Get("$rid")]
	delete(d.twin, a.query.Get("$rid"))
	d.mu.Unlock()
	if waiting != nil {
		waiting <- a
	}
}

// Send publishes telemetry with QoS 1. acked is called when it is acknowledged, by the reader.
func (d *Device) Send(bag string, body []byte, dup bool, acked func()) error {
	d.mu.Lock()
	for {
		if d.next++; d.next == 0 {
			d.next = 1
		}
		if _, taken := d.acks[d.next]; !taken {
			break
		}
	}
	id := d.next
	d.acks[id] = acked
	d.mu.Unlock()
	return d.Say(&mqtt.Publish{Topic: []byte(d.own + "/messages/events/" + bag), Payload: body, QoS: 1, ID: id, Dup: dup})
}

// ask publishes a request about the twin and waits for its answer.
func (d *Device) ask(ctx context.Context, topic string, body []byte) (answer, error) {
	waiting := make(chan answer, 1)
	d.mu.Lock()
	d.rid++
	rid := strconv.Itoa(d.rid)
	d.twin[rid] = waiting
	d.mu.Unlock()
	if err := d.Say(&mqtt.Publish{Topic: []byte(topic + "?$rid=" + rid), Payload: body}); err != nil {
		return answer{}, err
	}
	select {
	case a := <-waiting:
		return a, nil
	case <-d.ended:
		return answer{}, ErrEnded
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// Report patches reported properties and returns their version. A refusal is a [Failed].
func (d *Device) Report(ctx context.Context, patch []byte) (int64, error) {
	a, err := d.ask(ctx, "$iothub/twin/PATCH/properties/reported/", patch)
	if err != nil {
		return 0, err
	}
	if a.status != 204 {
		return 0, Failed{a.status, string(a.body)}
	}
	return strconv.ParseInt(a.query.Get("$version"), 10, 64)
}

// Twin reads the twin as the device sees it.
func (d *Device) Twin(ctx context.Context) ([]byte, error) {
	a, err := d.ask(ctx, "$iothub/twin/GET/", []byte(" "))
	if err == nil && a.status != 200 {
		err = Failed{a.status, string(a.body)}
	}
	return a.body, err
}

// Failed is a request about a twin that the hub refused, in its words.
type Failed struct {
	Status int
	Words  string
}

// Error implements error.
func (f Failed) Error() string { return fmt.Sprintf("%d %s", f.Status, f.Words) }
