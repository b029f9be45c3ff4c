package abuse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// overAMQP dials the door for AMQP, from an address of this machine.
func (s *site) overAMQP(ctx context.Context, source string) (*tls.Conn, error) {
	return s.hub.DialTLS(ctx, source, s.hub.AMQP, s.hub.TLS(processes.Contoso))
}

// claims opens a session of somebody who puts a token that is good.
func (s *site) claims(ctx context.Context, token string) (*amqptest.Client, *amqptest.Session, error) {
	conn, err := s.overAMQP(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	c, err := amqptest.Connect(ctx, conn, amqptest.Options{Hostname: processes.Contoso, SASL: amqptest.Anonymous("")})
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	session, err := c.Session(ctx)
	if err == nil {
		var cbs *amqptest.Requester
		if cbs, err = session.Requester(ctx, "$cbs"); err == nil {
			var code int32
			var words string
			if code, words, err = cbs.PutToken(ctx, "servicebus.windows.net:sastoken", processes.Contoso, token); err == nil && code >= 300 {
				err = fmt.Errorf("the token: %d %s", code, words)
			}
		}
	}
	if err != nil {
		c.Abort()
		return nil, nil, err
	}
	return c, session, nil
}

// honest are devices that send one message after the other over AMQP, and a back end that reads all of them.
type honest struct {
	s        *site
	stop     context.CancelFunc
	sending  sync.WaitGroup
	reading  sync.WaitGroup
	accepted atomic.Int64

	mu   sync.Mutex // guards the field below
	seen map[string]int
}

// honest has n devices send, each ten times a second at most.
func (s *site) honest(n int) *honest {
	s.t.Helper()
	h := &honest{s: s, seen: map[string]int{}}
	ctx, stop := context.WithCancel(s.t.Context())
	h.stop = stop
	reader, session, err := s.claims(ctx, s.token())
	must(s.t, err)
	s.t.Cleanup(func() {
		stop()
		reader.Abort()
		h.reading.Wait()
	})
	partitions := 0
	for ; partitions < 32; partitions++ {
		r, err := session.Receiver(ctx, fmt.Sprintf("messages/events/ConsumerGroups/$Default/Partitions/%d", partitions), 1000, nil)
		if err != nil {
			break
		}
		h.reading.Go(func() { h.read(r) })
	}
	if partitions == 0 {
		s.t.Fatal("nothing can be read")
	}
	for i := range n {
		c := s.create(fmt.Sprintf("amqp-%d", i))
		token, err := device.Sign(processes.Contoso, c.ID, c.Key)
		must(s.t, err)
		conn, session, err := s.claims(ctx, token)
		must(s.t, err)
		s.t.Cleanup(conn.Abort)
		link, err := session.Sender(ctx, "/devices/"+c.ID+"/messages/events", nil)
		must(s.t, err)
		h.sending.Go(func() { h.send(ctx, c.ID, link) })
	}
	return h
}

func (h *honest) send(ctx context.Context, id string, link *amqptest.Sender) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		m, err := (&amqp.Message{Data: [][]byte{fmt.Appendf(nil, "%s %d", id, i)}}).Append(nil)
		if err == nil {
			err = link.SendAccepted(context.WithoutCancel(ctx), m, 0)
		}
		if err != nil {
			h.s.t.Errorf("%s: message %d: %v", id, i, err)
			return
		}
		h.accepted.Add(1)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (h *honest) read(r *amqptest.Receiver) {
	for {
		d, err := r.Next(context.Background())
		if err != nil {
			return
		}
		if m, err := d.Decode(); err == nil && len(m.Data) == 1 && strings.HasPrefix(string(m.Data[0]), "amqp-") {
			h.mu.Lock()
			h.seen[string(m.Data[0])]++
			h.mu.Unlock()
		}
		r.Grant(1000, false)
	}
}

// all ends the sending and tells whether every message that was accepted was read, once.
func (h *honest) all(least int64) {
	h.s.t.Helper()
	h.stop()
	h.sending.Wait()
	if n := h.accepted.Load(); n < least {
		h.s.t.Errorf("%d messages were accepted, wanted %d", n, least)
	}
	await(h.s.t, "all that was accepted", func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if int64(len(h.seen)) != h.accepted.Load() {
			return fmt.Errorf("%d were accepted and %d read", h.accepted.Load(), len(h.seen))
		}
		return nil
	})
	for m, n := range h.seen {
		if n != 1 {
			h.s.t.Errorf("%q was read %d times", m, n)
		}
	}
}

// nothings are values of one byte each, and of much more where they are kept.
func nothings(n int) amqp.Map {
	list := make(amqp.List, n)
	for i := range list {
		list[i] = amqp.List{}
	}
	return amqp.Map{{Key: amqp.Symbol("x"), Value: list}}
}

// strange is what somebody without a credential says. An error says that he was not answered as he should be; that he was cut off is fine.
type strange struct {
	name string
	do   func(ctx context.Context, conn net.Conn, i int) error
}

func strangers() []strange {
	open := func(ctx context.Context, conn net.Conn, o *amqp.Open) (*amqptest.Conn, error) {
		o.Hostname = processes.Contoso
		c, err := amqptest.Dial(ctx, conn, amqptest.Options{SASL: amqptest.Anonymous(""), Open: o})
		if err == nil {
			go func() { _, _ = io.Copy(io.Discard, conn) }() // until the connection is closed
		}
		return c, err
	}
	floods := func(ctx context.Context, conn net.Conn, o *amqp.Open, frames []byte) error {
		c, err := open(ctx, conn, o)
		if err == nil {
			_ = c.Write(ctx, frames)
		}
		return nil //nolint:nilerr // it was cut off
	}
	begin := func(out []byte, channel int) []byte {
		return amqp.AppendFrame(out, amqp.FrameAMQP, uint16(channel), &amqp.Begin{IncomingWindow: 100, OutgoingWindow: 100}, nil)
	}
	return []strange{
		{"another protocol", func(_ context.Context, conn net.Conn, _ int) error {
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			return ended(conn, time.Now().Add(patient))
		}},
		{"a wrong password", func(ctx context.Context, conn net.Conn, i int) error {
			user := []string{fmt.Sprintf("nobody-%d@sas.x", i), "calm@sas." + processes.Contoso, "service", "0ne/registrations/x"}[i%4]
			_, err := amqptest.Dial(ctx, conn, amqptest.Options{SASL: amqptest.Plain(user, "wrong"), Hostname: processes.Contoso})
			if _, refused := errors.AsType[*amqptest.Refused](err); !refused && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", user, err)
			}
			return nil
		}},
		{"a wrong token", func(ctx context.Context, conn net.Conn, i int) error {
			c, err := amqptest.Connect(ctx, conn, amqptest.Options{Hostname: processes.Contoso})
			if err != nil {
				return err
			}
			defer c.Abort()
			session, err := c.Session(ctx)
			if err != nil {
				return err
			}
			cbs, err := session.Requester(ctx, "$cbs")
			if err != nil {
				return err
			}
			for n := range 20 {
				id := []string{"calm", fmt.Sprintf("nobody-%d-%d", i, n)}[n%2]
				token, err := device.Sign(processes.Contoso, id, "d3JvbmcgYnV0IGxvbmcgZW5vdWdoIGZvciBhIGtleSE=")
				if err != nil {
					return err
				}
				code, words, err := cbs.PutToken(ctx, "servicebus.windows.net:sastoken", processes.Contoso+"/devices/"+id, token)
				if ctx.Err() == nil && (err != nil || code != 401) {
					return fmt.Errorf("%s: %d %s %w", id, code, words, err)
				}
			}
			return nil
		}},
		{"links with much to say of them", func(ctx context.Context, conn net.Conn, i int) error {
			var out []byte
			for channel := range 4 {
				out = begin(out, channel)
				for handle := range uint32(100) {
					a := amqptest.ReceiverFrom("r", handle, fmt.Sprintf("/devices/nobody-%d-%d/messages/devicebound", i, handle))
					a.Properties = nothings(1500)
					out = amqp.AppendFrame(out, amqp.FrameAMQP, uint16(channel), a, nil)
				}
			}
			return floods(ctx, conn, &amqp.Open{Properties: nothings(1500)}, out)
		}},
		{"sessions that come and go", func(ctx context.Context, conn net.Conn, _ int) error {
			var out []byte
			out = begin(out, 4999)
			for n := range 4000 {
				out = begin(out, n%1000)
				if n%3 == 0 {
					out = amqp.AppendFrame(out, amqp.FrameAMQP, uint16(n%1000), &amqp.End{}, nil)
				}
			}
			return floods(ctx, conn, &amqp.Open{ChannelMax: amqp.Some(uint16(4998))}, out)
		}},
		{"requests that never end", func(ctx context.Context, conn net.Conn, _ int) error {
			out := begin(nil, 0)
			for handle := range uint32(200) {
				out = amqp.AppendFrame(out, amqp.FrameAMQP, 0, amqptest.SenderTo("s", handle, "$cbs"), nil)
				t := &amqp.Transfer{Handle: handle, DeliveryID: amqp.Some(handle), DeliveryTag: []byte{1}, MessageFormat: amqp.Some(uint32(0)), More: true}
				out = amqp.AppendFrame(out, amqp.FrameAMQP, 0, t, make([]byte, 30_000))
			}
			return floods(ctx, conn, &amqp.Open{}, out)
		}},
		{"who never reads", func(ctx context.Context, conn net.Conn, _ int) error {
			c, err := amqptest.Dial(ctx, conn, amqptest.Options{Hostname: processes.Contoso})
			if err != nil {
				return err
			}
			out := begin(nil, 0)
			for range 20_000 {
				out = amqp.AppendFrame(out, amqp.FrameAMQP, 0, &amqp.Flow{IncomingWindow: 1, OutgoingWindow: 1, Echo: true}, nil)
			}
			_ = conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
			_ = c.Write(ctx, out)
			return nil
		}},
		{"frames nobody sends", func(ctx context.Context, conn net.Conn, i int) error {
			c, err := amqptest.Dial(ctx, conn, amqptest.Options{Hostname: processes.Contoso})
			if err != nil {
				return err
			}
			bad := [][]byte{
				{0, 0, 0, 1, 2, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0}, {0, 0, 0, 8, 1, 0, 0, 0}, {0, 0, 0, 9, 2, 1, 0, 0, 0},
				{0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x99, 0x45}, {0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x12, 0x45}, {0, 0, 0, 16, 2, 0, 0, 0, 0, 0x53, 0x11, 0xd0, 0xff, 0xff, 0xff, 0xff},
			}
			_ = c.Write(ctx, bad[i%len(bad)])
			end, _, err := amqptest.Await[*amqp.Close](ctx, c)
			if ctx.Err() == nil && (err != nil || end.Error == nil) {
				return fmt.Errorf("%x: %v, %w", bad[i%len(bad)], end, err)
			}
			return nil
		}},
	}
}

// A flood of strangers from 50 addresses, of every kind at once, beside 20 devices that send over AMQP and a back end that reads: nothing is
// lost, everybody is served, the process holds little and the log has a few lines.
func TestAFloodOfStrangersOverAMQP(t *testing.T) {
	s := startHub(t)
	o := s.bystanders()
	h := s.honest(20)
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	kinds := strangers()
	came := make([]atomic.Int64, len(kinds))
	var flood sync.WaitGroup
	for k, kind := range kinds {
		flood.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				conn, err := s.overAMQP(ctx, fmt.Sprintf("127.0.20.%d", 1+(i*len(kinds)+k)%50))
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("%s: %v", kind.name, err)
					}
					return
				}
				within, done := context.WithTimeout(ctx, patient)
				if err := kind.do(within, conn, i); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", kind.name, err)
				}
				done()
				_ = conn.Close()
				came[k].Add(1)
			}
		})
	}
	lasting := time.Duration(more(4, 60)) * time.Second
	<-time.After(lasting)
	o.fine("beside strangers", 5)
	cancel()
	flood.Wait()
	for k, kind := range kinds {
		if n := came[k].Load(); n < 3 {
			t.Errorf("%s: only %d came", kind.name, n)
		}
		t.Logf("%s: %d", kind.name, came[k].Load())
	}
	memory().within(t, 96)
	h.all(100)
	o.stop()
	s.end()
	if n, most := len(s.lines()), 300+int(lasting.Seconds()); n > most {
		t.Errorf("the log has %d lines, wanted at most %d:\n%s", n, most, s.tail())
	}
}
