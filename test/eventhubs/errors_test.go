package eventhubs

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// script is a server that takes every token and has one thing to say, to see what SDKs make of it. It implements engine.Acceptor.
type script struct {
	at    string // where it says it: one of the places below
	error *amqp.Error

	mu sync.Mutex // guards what was counted
	counted
}

type counted struct{ connections, links, events int }

// Where a script speaks.
const (
	rejecting       = "rejects events"
	detaching       = "detaches on an event"
	closing         = "closes the connection on an event"
	refusing        = "refuses links"
	refusingReaders = "refuses readers"
	detachingReader = "detaches readers"
)

func (s *script) Mechanisms() []amqp.Symbol                               { return []amqp.Symbol{"ANONYMOUS"} }
func (s *script) Authenticate(context.Context, *engine.SASL) (any, error) { return nil, nil }

func (s *script) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	s.count(func(n *counted) { n.connections++ })
	return &scripted{s, cbs.New(func(context.Context, cbs.Token) cbs.Result { return cbs.Result{Code: 202, Description: "Accepted"} })}, nil
}

func (s *script) count(f func(*counted)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counted)
}

func (s *script) counts() counted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counted
}

// scripted is one connection of a script.
type scripted struct {
	*script
	claims *cbs.Node
}

func (c *scripted) Ended(error) {}

func (c *scripted) Attach(l *engine.Link) {
	if cbs.Is(l.Address()) {
		c.claims.Attach(l)
		return
	}
	c.count(func(n *counted) { n.links++ })
	switch {
	case c.at == refusing || c.at == refusingReaders && l.PeerReceives():
		l.Refuse(c.error)
	case l.PeerReceives():
		l.Accept(engine.Accept{})
		if c.at == detachingReader {
			l.Detach(c.error)
		}
	default:
		l.Accept(engine.Accept{Receive: c.receive})
	}
}

func (c *scripted) receive(d *engine.Delivery) {
	c.count(func(n *counted) { n.events++ })
	switch c.at {
	case rejecting:
		d.Reject(c.error)
	case detaching:
		d.Link().Detach(c.error)
	case closing:
		d.Link().Conn().Close(c.error)
	default:
		d.Accept()
	}
}

// play serves a script on plain TCP until the test ends, and returns its address.
func play(t *testing.T, s *script) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background()) // ended by the cleanup below
	e := engine.New(engine.Config{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { _ = e.Serve(ctx, conn, s) }) // what the SDK makes of it is the test's business
		}
	})
	t.Cleanup(func() {
		stop()
		_ = ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

// What the Go SDK does after an error, with one retry to spend.
const (
	gives   = "gives up"
	again   = "sends again on the same link"
	relink  = "attaches again"
	redial  = "connects again"
	retries = true // of the SDK for Node.js
	fatal   = false
)

// conditions are those of Azure, where our server says them, and what the SDKs make of them.
var conditions = []struct {
	condition amqp.Symbol
	at        string
	code      string // of the SDK for Node.js
	retryable bool
	after     string // of the Go SDK
}{
	{"com.microsoft:server-busy", rejecting, "ServerBusyError", retries, again},
	{"com.microsoft:timeout", rejecting, "ServiceUnavailableError", retries, again},
	{"com.microsoft:operation-cancelled", rejecting, "OperationCancelledError", retries, again},
	{"amqp:internal-error", rejecting, "InternalServerError", retries, redial},
	{"amqp:link:detach-forced", detaching, "DetachForcedError", retries, relink},
	{"amqp:connection:forced", closing, "ConnectionForcedError", retries, redial},
	{"amqp:link:transfer-limit-exceeded", detaching, "TransferLimitExceededError", retries, relink},
	{"amqp:unauthorized-access", refusing, "UnauthorizedError", retries, gives},
	{"amqp:not-found", refusing, "ServiceCommunicationError", fatal, gives},
	{"amqp:not-allowed", refusing, "InvalidOperationError", fatal, gives},
	{"amqp:resource-limit-exceeded", refusing, "QuotaExceededError", fatal, gives},
	{"amqp:link:message-size-exceeded", rejecting, "MessageTooLargeError", fatal, gives},
	{"com.microsoft:argument-out-of-range", refusing, "ArgumentOutOfRangeError", fatal, gives},
	{"com.microsoft:entity-disabled", refusing, "MessagingEntityDisabledError", fatal, gives},
	{"com.microsoft:argument-error", refusing, "ArgumentError", fatal, relink},
	{"amqp:link:redirect", refusing, "LinkRedirectError", fatal, relink},
	{"com.microsoft:out-of-order-sequence", rejecting, "", fatal, redial},
	{"com.microsoft:producer-epoch-stolen", rejecting, "", fatal, redial},
}

// TestConditions: what the SDKs make of each error, and that a refused link is one for every go-amqp.
func TestConditions(t *testing.T) {
	t.Parallel()
	for _, s := range []sdk{js, golang, golangNext} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := s.start(t)
			for _, c := range conditions {
				t.Run(string(c.condition), func(t *testing.T) {
					t.Parallel()
					d := d.in(t)
					covers(t, "EH24", s.with)
					words := fmt.Sprintf("words for %s", c.condition)
					if s.name == js.name && (c.at == detaching || c.at == closing) {
						c.at = rejecting // it does not notice that the outcome of what it has sent will not come
					}
					server := &script{at: c.at, error: &amqp.Error{Condition: c.condition, Description: words, Info: amqp.Map{{Key: amqp.Symbol("hostname"), Value: "elsewhere"}}}}
					name := string(c.condition)
					connection := "Endpoint=sb://" + play(t, server) + ";SharedAccessKeyName=k;SharedAccessKey=a2V5;EntityPath=h;UseDevelopmentEmulator=true"
					d.must("open", m{"client": name, "kind": "producer", "connection": connection, "retries": 1, "retryDelay": 20})
					e := d.fails("send", m{"client": name, "partition": "0", "unchecked": true}, texts("x"))
					if c.at != closing && !strings.Contains(e.text("message"), words) {
						t.Errorf("the error is %v, want %q", e, words)
					}
					n := server.counts()
					if s.name == js.name {
						if c.code != "" && e.text("code") != c.code || (e["retryable"] == true) != c.retryable {
							t.Errorf("the error is %v, want %s, retryable %v", e, c.code, c.retryable)
						}
						if twice := max(n.connections, n.links, n.events) > 1; twice != c.retryable {
							t.Errorf("it was asked %+v", n)
						}
						return
					}
					if got := n.afterwards(); got != c.after || (got == relink || got == redial) != (e.text("code") == "connlost") {
						t.Errorf("the SDK %s, want %s: %+v, %v", got, c.after, n, e)
					}
				})
			}
		})
	}
}

// afterwards tells by what was counted what the Go SDK did after the first error.
func (n counted) afterwards() string {
	switch {
	case n.connections > 1:
		return redial
	case n.links > 1:
		return relink
	case n.events > 1:
		return again
	}
	return gives
}

// TestStolen: a link that is taken away is the end for who had it; one that is refused is so to the SDK for Node.js alone.
func TestStolen(t *testing.T) {
	t.Parallel()
	for _, s := range []sdk{js, golang, golangNext} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := s.start(t)
			for at, code := range map[string]string{detachingReader: "ownershiplost", refusingReaders: "connlost"} {
				t.Run(at, func(t *testing.T) {
					t.Parallel()
					d := d.in(t)
					covers(t, "EH24", s.with)
					server := &script{at: at, error: &amqp.Error{Condition: amqp.ConditionStolen, Description: "It is somebody else's."}}
					connection := "Endpoint=sb://" + play(t, server) + ";SharedAccessKeyName=k;SharedAccessKey=a2V5;EntityPath=h;UseDevelopmentEmulator=true"
					d.must("open", m{"client": at, "kind": "consumer", "connection": connection, "retries": 1, "retryDelay": 20})
					d.must("read", m{"client": at, "reader": at, "partition": "0", "epoch": 1})
					e := d.loses(at, "0")
					if s.name == js.name {
						code = "ReceiverDisconnectedError"
					}
					if e.text("code") != code || !strings.Contains(e.text("message"), "somebody else's") {
						t.Errorf("the error is %v, want %s", e, code)
					}
					if s.name != js.name && at == refusingReaders {
						if got := server.counts().afterwards(); got != relink {
							t.Errorf("the SDK %s", got)
						}
					}
				})
			}
		})
	}
}

// within is a context for what has to happen within a test's patience.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
