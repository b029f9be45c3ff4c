package mqttdoor

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// paper is a connection that keeps what is written.
type paper struct {
	mu   sync.Mutex // guards the fields below
	text []byte
	cuts int
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = append(p.text, b...)
	return len(b), nil
}

func (*paper) SetDeadline(time.Time) error      { return nil }
func (*paper) SetWriteDeadline(time.Time) error { return nil }

func (p *paper) Cut(hub.Cause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts++
}

// TestOutboxAgainstItsSlowTwin answers messages in every order and compares with a list that is walked from its front each time.
func TestOutboxAgainstItsSlowTwin(t *testing.T) {
	type message struct {
		id       uint16
		answered bool
		done     func(eventlog.Position, error)
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		conn := &paper{}
		o := &outbox{}
		o.init(&Door{cfg: Config{InFlight: limit, WriteTimeout: time.Second}}, conn)
		o.hub = &hub.Hub{}
		var flying []*message
		var want []byte
		failed, waiting := false, 0
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				if waiting == limit {
					t.Skip("begin would wait")
				}
				m := &message{id: rapid.Uint16().Draw(t, "id")}
				m.done = o.begin(m.id, 1)
				if (m.done == nil) != failed {
					t.Fatalf("begin gives %v", m.done == nil)
				}
				if !failed {
					flying = append(flying, m)
					waiting++
				}
			},
			"answer": func(t *rapid.T) {
				var open []*message
				for _, m := range flying {
					if !m.answered {
						open = append(open, m)
					}
				}
				if len(open) == 0 {
					t.Skip("nothing to answer")
				}
				m := rapid.SampledFrom(open).Draw(t, "message")
				m.answered = true
				if rapid.IntRange(0, 50).Draw(t, "fails") == 0 {
					m.done(eventlog.Position{}, errors.New("full"))
					failed = true
					return
				}
				m.done(eventlog.Position{}, nil)
				for len(flying) > 0 && flying[0].answered && !failed {
					if id := flying[0].id; id != 0 {
						want, _ = mqtt.Ack{Of: mqtt.PUBACK, ID: id}.Append(want)
					}
					flying = flying[1:]
					waiting--
				}
			},
			"rest": func(*rapid.T) { o.rest() },
			"": func(t *rapid.T) {
				if (conn.cuts > 0) != failed {
					t.Fatalf("cut %d times, failed %v", conn.cuts, failed)
				}
			},
		})
		if (o.close() != nil) != failed {
			t.Fatal("close does not tell what the log said")
		}
		if !bytes.Equal(conn.text, want) {
			t.Fatalf("acknowledged % x\nwant         % x", conn.text, want)
		}
	})
}
