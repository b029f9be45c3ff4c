package eventhubs_test

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/fault"
)

// slow is a connection on which what is written may lie somewhere for a while.
type slow struct {
	net.Conn
	mu   sync.Mutex
	lies bool
	kept bytes.Buffer
}

func (s *slow) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lies {
		return s.kept.Write(b)
	}
	return s.Conn.Write(b)
}

// Close leaves what lies somewhere on its way.
func (s *slow) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lies {
		return nil
	}
	return s.Conn.Close()
}

func (s *slow) lie() {
	s.mu.Lock()
	s.lies = true
	s.mu.Unlock()
}

func (s *slow) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.Len()
}

// A batch is lost from sight with its connection and sent again, marked. Then what was lost arrives after all: it is not stored, unmarked,
// behind its repeat.
func TestWhatArrivesTooLate(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 1)
	var mu sync.Mutex
	var all []*slow
	connect := w.end.Connect
	w.end.Connect = func(ctx context.Context, port uint16) (net.Conn, error) {
		c, err := connect(ctx, port)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, &slow{Conn: c})
		return all[len(all)-1], nil
	}
	d := w.destination("copies")
	list := events(20, func(int) string { return "k" })
	if err := d.Write(t.Context(), "0", list[:10]); err != nil {
		t.Fatal(err)
	}
	old := all[0]
	old.lie()
	lost := make(chan error, 1)
	go func() { lost <- d.Write(context.Background(), "0", list[10:]) }()
	within := time.Now().Add(20 * time.Second)
	for old.size() < 300 {
		if runtime.Gosched(); time.Now().After(within) {
			t.Fatal("nothing is sent")
		}
	}
	_ = old.SetReadDeadline(time.Unix(1, 0))
	wantKind(t, <-lost, fault.Timeout)
	for _, e := range list[10:] {
		e.Repeat = true
	}
	if err := d.Write(t.Context(), "0", list[10:]); err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d connections", len(all))
	}
	_ = old.Conn.SetDeadline(time.Time{}) // TLS has set one, for its farewell
	if _, err := old.Conn.Write(old.kept.Bytes()); err != nil {
		t.Fatal(err)
	}
	_ = old.Conn.(*net.TCPConn).CloseWrite()
	for open := 2; open > 1; runtime.Gosched() { // the service has read it all when it is done with the connection
		w.mu.Lock()
		open = len(w.conns)
		w.mu.Unlock()
		if time.Now().After(within) {
			t.Fatal("the old connection stands")
		}
	}
	_ = old.Conn.Close()
	got := w.everything("copies", 1, 20)["0"]
	for i, e := range got[:min(len(got), len(list))] {
		v, _ := event.Get(e.Properties, event.RepeatProperty)
		if string(e.Body) != string(list[i].Body) || (v == true) != (i >= 10) {
			t.Errorf("event %d is %s, %v", i, e.Body, e.Properties)
		}
	}
}
