package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// door is where a load connects, and who it is there.
type door struct {
	Addr      string `json:"addr"`
	CA        string `json:"ca,omitempty"` // none: without TLS
	Host      string `json:"host"`
	User, Key string
}

// eventLoad is what a driving half does. Another program that reads it is test/eventhubs/go/load.
type eventLoad struct {
	Mode    string `json:"mode"`   // in, out, links, through
	Client  string `json:"client"` // raw, go-amqp, azeventhubs; for through who sends: raw, mqtt, device
	Door    door   `json:"door"`   // of those who send
	Target  string `json:"target"`
	Topic   string `json:"topic"`  // what azeventhubs calls the event hub
	Reader  door   `json:"reader"` // of those who read
	Sources []string
	Filter  string // of the sources; empty: none

	Senders int     `json:"senders"`
	Window  int     `json:"window"` // in flight, of each sender
	Body    int     `json:"body"`
	Batch   int     `json:"batch"`
	Count   int64   `json:"count,omitempty"` // to read
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate,omitempty"` // of all senders, a second; 0: as many as go through
}

func driveEvents() error {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	if !in.Scan() {
		return errors.New("there is nothing to do")
	}
	var l eventLoad
	if err := json.Unmarshal(in.Bytes(), &l); err != nil {
		return err
	}
	raiseFiles()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration((2*l.Seconds+90)*float64(time.Second)))
	defer cancel()
	ready := func() bool {
		fmt.Println("idle")
		return in.Scan()
	}
	var out figures
	var err error
	switch l.Mode {
	case "in":
		out, err = l.in(ctx, ready)
	case "out":
		out, err = l.out(ctx, ready)
	case "links":
		err = l.links(ctx, ready)
	case "through":
		out, err = l.through(ctx, ready)
	default:
		err = fmt.Errorf("no mode %q", l.Mode)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// session connects and begins a session.
func (d door) session(ctx context.Context) (*amqptest.Session, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", d.Addr)
	if err != nil {
		return nil, err
	}
	if d.CA != "" {
		pem, err := os.ReadFile(d.CA)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: d.Host, MinVersion: tls.VersionTLS13})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	sasl := amqptest.Plain(d.User, d.Key)
	sasl.Hostname = d.Host
	c, err := amqptest.Connect(ctx, conn, amqptest.Options{SASL: sasl, Hostname: d.Host})
	if err != nil {
		return nil, err
	}
	return c.Session(ctx)
}

// batchFormat says that a message's data sections are messages (Event Hubs).
const batchFormat = 0x80013700

// message is an event, or a batch of them, with so many bytes, durable, with a property.
func (l eventLoad) message(body []byte) (message []byte, format uint32) {
	properties := amqp.Map{{Key: "line", Value: "3"}}
	one, _ := (&amqp.Message{Header: &amqp.Header{Durable: true}, ApplicationProperties: properties, Data: [][]byte{body}}).Append(nil)
	if l.Batch <= 1 {
		return one, 0
	}
	m := &amqp.Message{Header: &amqp.Header{Durable: true}}
	for range l.Batch {
		m.Data = append(m.Data, one)
	}
	message, _ = m.Append(nil)
	return message, batchFormat
}

// span is when acknowledgements count.
type span struct{ from, until time.Time }

func (l eventLoad) span() span {
	from := time.Now().Add(time.Duration(l.Seconds / 4 * float64(time.Second)))
	return span{from, from.Add(time.Duration(l.Seconds * float64(time.Second)))}
}

func (s span) holds(t time.Time) bool { return !t.Before(s.from) && t.Before(s.until) }

// tally is what came of events.
type tally struct {
	all, counted, errs atomic.Int64
	mu                 sync.Mutex // guards the fields below
	took               []float64  // microseconds
	why                string
}

func (t *tally) failed(why string) {
	t.errs.Add(1)
	t.mu.Lock()
	t.why = why
	t.mu.Unlock()
}

func (t *tally) took1(d time.Duration) {
	t.mu.Lock()
	t.took = append(t.took, float64(d.Nanoseconds())/1000)
	t.mu.Unlock()
}

func (t *tally) figures(seconds float64) figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := figures{Messages: float64(t.counted.Load()) / seconds, All: t.all.Load(), Errors: t.errs.Load()}
	if t.why != "" {
		fmt.Fprintln(os.Stderr, t.why)
	}
	if len(t.took) > 0 {
		slices.Sort(t.took)
		f.MedianRTT, f.P99RTT = t.took[len(t.took)/2], t.took[len(t.took)*99/100]
	}
	return f
}

// in keeps each sender's window full until the time is over.
func (l eventLoad) in(ctx context.Context, ready func() bool) (figures, error) {
	var senders []*amqptest.Sender
	for range l.Senders {
		s, err := l.Door.session(ctx)
		if err != nil {
			return figures{}, err
		}
		sender, err := s.Sender(ctx, l.Target, nil)
		if err != nil {
			return figures{}, err
		}
		senders = append(senders, sender)
	}
	if !ready() {
		return figures{}, errors.New("called off")
	}
	message, format := l.message(make([]byte, l.Body))
	var t tally
	var all sync.WaitGroup
	at := l.span()
	for _, s := range senders {
		all.Go(func() {
			window := make(chan struct{}, l.Window)
			for time.Now().Before(at.until) {
				window <- struct{}{}
				from := time.Now()
				err := s.Start(ctx, message, format, func(state amqp.State) {
					if _, ok := state.(amqp.Accepted); ok {
						t.all.Add(int64(l.Batch))
						if now := time.Now(); at.holds(now) {
							t.counted.Add(int64(l.Batch))
							if l.Window == 1 {
								t.took1(now.Sub(from))
							}
						}
					} else {
						t.failed(fmt.Sprintf("the outcome is %T%+v (%v)", state, state, s.Err()))
					}
					<-window
				})
				if err != nil {
					t.failed(err.Error())
					return
				}
			}
			for range cap(window) {
				window <- struct{}{}
			}
		})
	}
	all.Wait()
	return t.figures(l.Seconds), nil
}

// receivers attaches to all sources over one connection.
func (l eventLoad) receivers(ctx context.Context, credit uint32) ([]*amqptest.Receiver, error) {
	s, err := l.Reader.session(ctx)
	if err != nil {
		return nil, err
	}
	return l.attach(ctx, s, l.Sources, credit)
}

func (l eventLoad) attach(ctx context.Context, s *amqptest.Session, sources []string, credit uint32) ([]*amqptest.Receiver, error) {
	var out []*amqptest.Receiver
	for i, source := range sources {
		r, err := s.Receiver(ctx, source, credit, func(a *amqp.Attach) {
			a.Name = fmt.Sprintf("from %s %d", source, i)
			a.SndSettleMode = amqp.Some(amqp.SenderSettled) // it would be taken away or not; nobody waits for it
			if l.Filter != "" {
				name := amqp.Symbol("apache.org:selector-filter:string")
				a.Source.Filter = amqp.Map{{Key: name, Value: amqp.Described{Descriptor: name, Value: l.Filter}}}
			}
		})
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// out reads until it has Count events or the time is over, and divides by the time from the first to the last.
func (l eventLoad) out(ctx context.Context, ready func() bool) (figures, error) {
	s, err := l.Reader.session(ctx)
	if err != nil {
		return figures{}, err
	}
	if !ready() {
		return figures{}, errors.New("called off")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration((l.Seconds+1)*float64(time.Second)))
	defer cancel()
	var mu sync.Mutex
	var first, last time.Time
	var n int64
	var all sync.WaitGroup
	receivers, err := l.attach(ctx, s, l.Sources, 5000)
	if err != nil {
		return figures{}, err
	}
	until := time.Now().Add(time.Duration(l.Seconds * float64(time.Second)))
	for _, r := range receivers {
		all.Go(func() {
			for got := int64(0); ; {
				_, err := r.Next(ctx)
				now := time.Now()
				if err == nil {
					got++
				}
				if err == nil && got%64 != 0 && r.Waiting() > 0 && now.Before(until) {
					continue
				}
				mu.Lock()
				if n += got; got > 0 {
					last = now
				}
				if got = 0; first.IsZero() {
					first = now
				}
				end := err != nil || n >= l.Count || !now.Before(until)
				if end {
					cancel()
				}
				mu.Unlock()
				if end {
					return
				}
			}
		})
	}
	all.Wait()
	if n == 0 {
		return figures{}, fmt.Errorf("nothing came from %v: %w", l.Sources, receivers[0].Err())
	}
	return figures{Messages: float64(n) / max(last.Sub(first).Seconds(), 1e-3), All: n}, nil
}

// links holds Senders connections, each with Window receivers.
func (l eventLoad) links(ctx context.Context, ready func() bool) error {
	for i := range l.Senders {
		s, err := l.Reader.session(ctx)
		if err != nil {
			return err
		}
		var sources []string
		for k := range l.Window {
			sources = append(sources, l.Sources[(i*l.Window+k)%len(l.Sources)])
		}
		if _, err := l.attach(ctx, s, sources, 100); err != nil {
			return err
		}
	}
	ready()
	return nil
}
