package client_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func TestOpening(t *testing.T) {
	who := func(x *engine.SASL) error {
		if x.Mechanism == "PLAIN" && string(x.Initial) != "\x00user\x00secret" {
			return fault.New("test", fault.Unauthenticated, "no")
		}
		return nil
	}
	for name, x := range map[string]struct {
		cfg  client.Config
		kind fault.Kind // of Connect
		then fault.Kind // of Session
		good bool
	}{
		"anonymous":        {client.Config{}, 0, 0, true},
		"claims":           {client.Config{SASL: client.Claims()}, 0, 0, true},
		"a password":       {client.Config{SASL: client.Plain("user", "secret")}, 0, 0, true},
		"a wrong password": {client.Config{SASL: client.Plain("user", "hunter2")}, fault.Unauthenticated, 0, false},
		"not offered":      {client.Config{SASL: client.SASL{Mechanism: "EXTERNAL"}}, fault.Unauthenticated, 0, false},
		"small frames":     {client.Config{MaxFrame: 1}, 0, 0, true},
		"a wrong name":     {client.Config{Hostname: "wrong.example"}, 0, fault.NotFound, true},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			start(t, engine.Config{}, &server{who: who}, near, far)
			c, err := client.Connect(t.Context(), near, x.cfg, clock.System{})
			if !x.good {
				wantKind(t, err, x.kind)
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v tells the password", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(t.Context())
			_, err = c.Session(t.Context())
			if x.then != 0 {
				wantKind(t, err, x.then)
				if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Condition != amqp.ConditionNotFound || strings.Contains(fault.Message(err), "4711") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || c.Err() != nil || c.Peer().ContainerID != "isthmus" {
				t.Error(err)
			}
		})
	}
}

func TestPeersThatSpeakOtherwise(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing": "", "HTTP": "HTTP/1.1 400 Bad Request\r\n\r\n", "AMQP 0-9-1": "AMQP\x00\x00\x09\x01", "half a header": "AMQ",
		"no mechanisms": "AMQP\x03\x01\x00\x00\x00\x00\x00\x08\x02\x01\x00\x00", "junk": "AMQP\x03\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				_, _ = far.Read(make([]byte, 8))
				_, _ = far.Write([]byte(answer))
				_ = far.Close()
			}()
			_, err := client.Connect(t.Context(), near, client.Config{}, clock.System{})
			wantKind(t, err, fault.Unavailable)
		})
	}
}

func TestASilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() {
			b := make([]byte, 100)
			for {
				if _, err := far.Read(b); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		_, err := client.Connect(t.Context(), near, client.Config{SetupTimeout: 7 * time.Second}, clock.System{})
		wantKind(t, err, fault.Timeout)
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Both sides want to hear from each other, and do, for an hour in which there is nothing to say; then the peer falls silent.
func TestIdling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		quiet := &muted{Conn: far}
		start(t, engine.Config{IdleTimeout: 20 * time.Second}, &server{}, near, quiet)
		c, err := client.Connect(t.Context(), near, client.Config{IdleTimeout: 10 * time.Second}, clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Abort()
		time.Sleep(time.Hour) // the bubble's
		if _, err := c.Session(t.Context()); err != nil {
			t.Fatal(err)
		}
		quiet.mute()
		began := time.Now()
		<-c.Done()
		wantKind(t, c.Err(), fault.Timeout)
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// muted writes into the void once it is told to.
type muted struct {
	net.Conn
	mu    sync.Mutex
	still bool
}

func (m *muted) mute() {
	m.mu.Lock()
	m.still = true
	m.mu.Unlock()
}

func (m *muted) Write(b []byte) (int, error) {
	m.mu.Lock()
	still := m.still
	m.mu.Unlock()
	if still {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func TestSending(t *testing.T) {
	var mu sync.Mutex
	var got [][]byte
	s := &server{accept: engine.Accept{MaxMessage: 2 << 20, Credit: 3}, take: func(d *engine.Delivery) {
		mu.Lock()
		got = append(got, bytes.Clone(d.Message()))
		mu.Unlock()
		switch {
		case bytes.HasPrefix(d.Message(), []byte("reject")):
			d.Reject(amqp.Errorf("com.example:odd", "It is odd."))
		case bytes.HasPrefix(d.Message(), []byte("release")):
			d.Release()
		case bytes.HasPrefix(d.Message(), []byte("detach")):
			d.Link().Detach(amqp.Errorf(amqp.ConditionUnauthorizedAccess, "The token has lapsed."))
		default:
			d.Accept()
		}
	}}
	to, err := connect(t, s, client.Config{MaxFrame: 1000}).Sender(t.Context(), client.SenderConfig{Target: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if to.MaxMessage() != 2<<20 {
		t.Errorf("a message may have %d bytes", to.MaxMessage())
	}
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	if err := to.Send(t.Context(), big, 0); err != nil || !bytes.Equal(got[0], big) {
		t.Errorf("%v, %d bytes arrived", err, len(got[0]))
	}
	wantKind(t, to.Send(t.Context(), make([]byte, 2<<20+1), 0), fault.TooLarge)
	err = to.Send(t.Context(), []byte("reject"), 0)
	wantKind(t, err, fault.Unavailable)
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Condition != "com.example:odd" || !strings.Contains(fault.Message(err), "It is odd (com.example:odd)") {
		t.Errorf("%v", err)
	}
	wantKind(t, to.Send(t.Context(), []byte("release"), 0), fault.Unavailable)
	var all sync.WaitGroup
	for range 500 { // with credit for three
		all.Add(1)
		if err := to.Start(t.Context(), []byte("small"), 0, func(err error) {
			if err != nil {
				t.Error(err)
			}
			all.Done()
		}); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	if len(got) != 503 {
		t.Errorf("%d messages arrived", len(got))
	}
	wantKind(t, to.Send(t.Context(), []byte("detach"), 0), fault.Denied)
	wantKind(t, to.Err(), fault.Denied)
	wantKind(t, to.Send(t.Context(), []byte("again"), 0), fault.Denied)
}

// What is under way when the connection goes has an outcome all the same.
func TestTheConnectionGoesWhileSending(t *testing.T) {
	s := &server{take: func(*engine.Delivery) {}}
	session := connect(t, s, client.Config{})
	to, err := session.Sender(t.Context(), client.SenderConfig{Target: "x"})
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make(chan error, 10)
	for range 10 {
		if err := to.Start(t.Context(), []byte("m"), 0, func(err error) { outcomes <- err }); err != nil {
			t.Fatal(err)
		}
	}
	s.conn.Close(amqp.Errorf(amqp.ConditionConnectionForced, "The service is stopping."))
	for range 10 {
		err := <-outcomes
		wantKind(t, err, fault.Unavailable)
		if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Description != "The service is stopping." {
			t.Errorf("%v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := to.Send(ctx, []byte("m"), 0); err == nil {
		t.Error("a message went over a connection that is gone")
	}
}

func TestReceiving(t *testing.T) {
	big := bytes.Repeat([]byte("b"), 300_000)
	settled := make(chan amqp.State, 100)
	s := &server{send: func(l *engine.Link) {
		for i := range 20 {
			m := []byte{byte(i)}
			if i%7 == 3 {
				m = append(m, big...)
			}
			out := engine.Outgoing{Parts: [][]byte{m}, Settled: i%2 == 0}
			if !out.Settled {
				out.Done = func(s amqp.State) { settled <- s }
			}
			if err := l.Send(l.Context(), out); err != nil {
				return
			}
		}
		l.Detach(amqp.Errorf(amqp.ConditionStolen, "Somebody else reads."))
	}}
	r, err := connect(t, s, client.Config{}).Receiver(t.Context(), client.ReceiverConfig{Source: "x", Prefetch: 5})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for len(all) < 20 {
		before := len(all)
		if all, err = r.Next(t.Context(), all, 3, 400_000); err != nil {
			t.Fatal(err)
		}
		if n := len(all) - before; n < 1 || n > 3 {
			t.Errorf("%d messages at once", n)
		}
	}
	for i, m := range all {
		if m[0] != byte(i) || i%7 == 3 && !bytes.Equal(m[1:], big) || i%7 != 3 && len(m) != 1 || cap(m) != len(m) {
			t.Errorf("message %d has %d bytes", i, len(m))
		}
	}
	for range 10 {
		if s := <-settled; s != (amqp.Accepted{}) {
			t.Errorf("%v", s)
		}
	}
	_, err = r.Next(t.Context(), nil, 1, 1)
	wantKind(t, err, fault.Conflict)
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Condition != amqp.ConditionStolen {
		t.Errorf("%v", err)
	}
}

// However much a peer has to say, what waits is bounded, by number and by size; and it goes on as it is read.
func TestWhatWaitsIsBounded(t *testing.T) {
	for name, x := range map[string]struct {
		size   int
		cfg    client.ReceiverConfig
		at     int // most
		atByte int
		read   int
	}{
		"small": {10, client.ReceiverConfig{Prefetch: 50}, 50, 1 << 20, 500},
		"large": {100_000, client.ReceiverConfig{Prefetch: 50, PrefetchBytes: 250_000}, 3, 350_000, 60},
	} {
		t.Run(name, func(t *testing.T) {
			m := bytes.Repeat([]byte("m"), x.size)
			stuck := make(chan struct{}, 1)
			s := &server{send: func(l *engine.Link) {
				for {
					if l.Credit() == 0 {
						select {
						case stuck <- struct{}{}:
						default:
						}
					}
					if l.Send(l.Context(), engine.Outgoing{Parts: [][]byte{m}, Settled: true}) != nil {
						return
					}
				}
			}}
			x.cfg.Source = "x"
			r, err := connect(t, s, client.Config{}).Receiver(t.Context(), x.cfg)
			if err != nil {
				t.Fatal(err)
			}
			read := 0
			for read < x.read {
				if read == 0 && name == "small" {
					<-stuck
				}
				for deadline := time.Now().Add(20 * time.Second); r.Waiting() == 0; {
					if runtime.Gosched(); time.Now().After(deadline) {
						t.Fatal("nothing comes")
					}
				}
				if n := r.Waiting(); n > x.at || n*x.size > x.atByte {
					t.Fatalf("%d messages of %d bytes wait", n, x.size)
				}
				list, err := r.Next(t.Context(), nil, 20, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				read += len(list)
			}
			r.Close(t.Context())
			if _, err := r.Next(t.Context(), nil, 1, 1); err == nil {
				t.Error("a closed link gives messages")
			}
		})
	}
}

func TestNextGivesUpAndEnds(t *testing.T) {
	r, err := connect(t, &server{}, client.Config{}).Receiver(t.Context(), client.ReceiverConfig{Source: "x"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx, nil, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := r.Next(context.Background(), nil, 1, 1)
		ended <- err
	}()
	r.Close(t.Context())
	wantKind(t, <-ended, fault.Unavailable)
}

func TestALinkIsRefused(t *testing.T) {
	s := &server{attach: func(l *engine.Link) bool {
		l.Refuse(&amqp.Error{Condition: amqp.ConditionLinkRedirect, Description: "Elsewhere.", Info: amqp.Map{{Key: amqp.Symbol("hostname"), Value: "e.example"}}})
		return true
	}}
	session := connect(t, s, client.Config{})
	_, err := session.Receiver(t.Context(), client.ReceiverConfig{Source: "x"})
	wantKind(t, err, fault.Unavailable)
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Info.Get("hostname") != "e.example" {
		t.Errorf("%v", err)
	}
	_, err = session.Sender(t.Context(), client.SenderConfig{Target: "x"})
	wantKind(t, err, fault.Unavailable)
	s.attach = func(*engine.Link) bool { return true } // and says nothing
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = session.Sender(ctx, client.SenderConfig{Target: "x"})
	wantKind(t, err, fault.Timeout)
}

func TestTokens(t *testing.T) {
	node := cbs.New(func(_ context.Context, x cbs.Token) cbs.Result {
		if x.Text != "good" || x.Kind != client.TokenJWT || x.Audience != "sb://h/e" {
			return cbs.Result{Code: 401, Description: "InvalidSignature: The token has an invalid signature.", Condition: amqp.ConditionUnauthorizedAccess}
		}
		return cbs.Result{Code: 202, Description: "Accepted"}
	})
	s := &server{attach: func(l *engine.Link) bool {
		node.Attach(l)
		return true
	}}
	session := connect(t, s, client.Config{})
	t.Cleanup(node.Wait)
	q, err := session.Requester(t.Context(), "$cbs")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := q.PutToken(t.Context(), client.TokenJWT, "sb://h/e", "good"); err != nil {
			t.Error(err)
		}
	}
	err = q.PutToken(t.Context(), client.TokenJWT, "sb://h/e", "hunter2")
	wantKind(t, err, fault.Unauthenticated)
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Condition != amqp.ConditionUnauthorizedAccess || !strings.Contains(fault.Message(err), "InvalidSignature") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = q.PutToken(ctx, client.TokenJWT, "sb://h/e", "good") // its answer is for nobody
	if err := q.PutToken(t.Context(), client.TokenJWT, "sb://h/e", "good"); err != nil {
		t.Error(err)
	}
	q.Close(t.Context())
}

func TestClosing(t *testing.T) {
	s := &server{}
	near, far := net.Pipe()
	start(t, engine.Config{}, s, near, far)
	c, err := client.Connect(t.Context(), near, client.Config{}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	session, err := c.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close(t.Context())
	c.Close(t.Context())
	wantKind(t, c.Err(), fault.Unavailable)
	if _, err := c.Session(t.Context()); err == nil {
		t.Error("a session on a closed connection")
	}
	if _, err := session.Sender(t.Context(), client.SenderConfig{Target: "x"}); err == nil {
		t.Error("a link on a closed connection")
	}
}
