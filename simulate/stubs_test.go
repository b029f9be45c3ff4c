package simulate_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/simulate/connection/connectiontest"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// note keeps a body and counts them.
func (s *stub) note(body []byte) int {
	if s.forgets {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, string(body))
	return len(s.seen)
}

// startAMQP serves AMQP until the test ends. how says how the hub is on its nth connection; outcome what becomes of its nth message, all
// connections counted, where nil says nothing.
func (s *stub) startAMQP(t testing.TB, how func(connection int) connectiontest.Options, outcome func(message int) amqp.State) *stub {
	ctx, cancel := context.WithCancel(context.Background())
	serve := func(c *tls.Conn) {
		defer func() { _ = c.Close() }()
		s.mu.Lock()
		s.n++
		n := s.n
		s.mu.Unlock()
		var o connectiontest.Options
		if how != nil {
			o = how(n)
		}
		hub, err := connectiontest.Meet(ctx, c, o)
		if err != nil || hub == nil {
			return
		}
		for {
			m, err := hub.Receive(ctx)
			if err != nil {
				s.pings.Add(int32(hub.Beats))
				return
			}
			count := s.note(m.Data[0])
			state := amqp.State(amqp.Accepted{})
			if outcome != nil {
				state = outcome(count)
			}
			if state == nil {
				continue
			}
			if err := hub.Settle(ctx, m.ID, m.ID, state); err != nil {
				return
			}
		}
	}
	s.all.Go(func() {
		for {
			c, err := s.ln.Accept()
			if err != nil {
				return
			}
			s.all.Go(func() { serve(tls.Server(c, s.tls)) })
		}
	})
	t.Cleanup(func() { cancel(); s.stop() })
	return s
}

// startHTTPS serves HTTPS until the test ends. status says what becomes of the nth message; 0 hangs up.
func (s *stub) startHTTPS(t testing.TB, rest time.Duration, status func(message int) int) *stub {
	h := &http.Server{ReadHeaderTimeout: time.Hour, IdleTimeout: rest, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		count := s.note(body)
		code := http.StatusNoContent
		if status != nil {
			code = status(count)
		}
		if code == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(code)
	})}
	s.all.Go(func() { _ = h.Serve(tls.NewListener(s.ln, s.tls)) })
	t.Cleanup(func() { _ = h.Close(); s.stop() })
	return s
}
