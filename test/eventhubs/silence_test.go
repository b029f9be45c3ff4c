package eventhubs

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// TestIdle: a client with nothing to say stays, because both ends see to it. A build waits for a namespace that would not wait long; the
// soak for the real times.
func TestIdle(t *testing.T) {
	t.Parallel()
	idle, wait := 4*time.Second, 10*time.Second
	if soaking() {
		idle, wait = 0, 150*time.Second
	}
	w := start(t, options{idle: idle})
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "EH04", s.with)
			relay, connections := counting(t, w.address, w.amqps)
			d := &user{w.driver(t, s), w, w.hub(t, 1)}
			through := m{"endpoint": relay}
			d.must("open", d.by("TLS"), through, m{"client": "p", "kind": "producer"})
			d.must("open", d.by("TLS"), through, m{"client": "c", "kind": "consumer"})
			d.must("send", m{"client": "p", "partition": "0"}, texts("before"))
			d.must("read", m{"client": "c", "reader": "r", "partition": "0", "position": m{"earliest": true}})
			d.receives("r", "0", 1)
			before := connections.Load()
			time.Sleep(wait) // that is what is tested
			d.must("send", m{"client": "p", "partition": "0"}, texts("after"))
			wantBodies(t, d.receives("r", "0", 1), "after")
			if after := connections.Load(); after != before {
				t.Errorf("%d connections were made while there was nothing to say", after-before)
			}
		})
	}
}

// counting leads from an address to another and counts the connections.
func counting(t *testing.T, on, to string) (string, *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(on, "0"))
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			all.Go(func() { splice(near, far) })
		}
	})
	t.Cleanup(func() { // the drivers have ended
		_ = ln.Close()
		all.Wait()
	})
	return ln.Addr().String(), &n
}

// splice carries bytes both ways until one of the two ends, and closes both.
func splice(near, far net.Conn) {
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // until one of them ends
			_, _ = way[0].Close(), way[1].Close()
		})
	}
	both.Wait()
}

// TestSilence: who says nothing for the idle timeout is told so, and is gone.
func TestSilence(t *testing.T) {
	t.Parallel()
	covers(t, "EH05", withRaw)
	idle := 4 * time.Second
	if soaking() {
		idle = 4 * time.Minute
	}
	w := start(t, options{idle: idle})
	c, err := amqptest.Dial(within(t), w.dial(t), amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: w.namespace})
	if err != nil {
		t.Fatal(err)
	}
	if told := time.Duration(c.Peer.IdleTimeout.Or(0)) * time.Millisecond; told != idle {
		t.Errorf("it tells an idle timeout of %v, want %v", told, idle)
	}
	begun := time.Now()
	_ = c.NetConn().SetDeadline(begun.Add(idle + patience))
	end, _, err := amqptest.Await[*amqp.Close](t.Context(), c)
	if err != nil || end.Error == nil || end.Error.Condition != amqp.ConditionConnectionForced {
		t.Errorf("it ends with %+v, %v", end, err)
	}
	if took := time.Since(begun); took < idle-100*time.Millisecond || took > idle+10*time.Second {
		t.Errorf("it ends after %v", took)
	}
}
