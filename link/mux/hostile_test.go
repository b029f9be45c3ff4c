package mux_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// TestAPeerThatBreaksTheProtocol ends its session, with the reason told to it and to us.
func TestAPeerThatBreaksTheProtocol(t *testing.T) {
	var flood []tunnel.Frame
	for range 5 {
		flood = append(flood, data(1, 60_000))
	}
	cases := []struct {
		name   string
		client bool // the session under test opens odd ids
		say    []tunnel.Frame
		want   string
	}{
		{"data for a stream that never was", false, []tunnel.Frame{data(1, 1)}, "never opened"},
		{"credit for a stream that never was", false, []tunnel.Frame{window(3, 1)}, "never opened"},
		{"an end of a stream that never was", false, []tunnel.Frame{bare(tunnel.TypeFin, 1)}, "never opened"},
		{"a reset of a stream we never opened", false, []tunnel.Frame{reset(2, 1)}, "never opened"},
		{"an open with our number", false, []tunnel.Frame{open(2)}, "not its own"},
		{"an open with our number, to a client", true, []tunnel.Frame{open(1)}, "not its own"},
		{"an open with a number used before", false, []tunnel.Frame{open(1), open(1)}, "used before"},
		{"an open with a smaller number", false, []tunnel.Frame{open(5), open(3)}, "used before"},
		{"an open with a number reset before", false, []tunnel.Frame{open(1), reset(1, 4), open(1)}, "used before"},
		{"an open with a number too great", false, []tunnel.Frame{open(1<<31 + 1)}, "too great"},
		{"an open with a broken flow", false, []tunnel.Frame{{Type: tunnel.TypeOpen, Stream: 1, Payload: []byte{9, 9, 9, 9, 9}}}, "cut short"},
		{"more data than credit", false, append([]tunnel.Frame{open(1)}, flood...), "beyond its credit"},
		{"data after the end", false, []tunnel.Frame{open(1), bare(tunnel.TypeFin, 1), data(1, 1)}, "its end"},
		{"two ends", false, []tunnel.Frame{open(1), bare(tunnel.TypeFin, 1), bare(tunnel.TypeFin, 1)}, "twice"},
		{"an accept of its own stream", false, []tunnel.Frame{open(1), bare(tunnel.TypeAccept, 1)}, "accepted"},
		{"no credit at all", false, []tunnel.Frame{open(1), window(1, 0)}, "credit of 0"},
		{"credit without bound", false, []tunnel.Frame{open(1), window(1, tunnel.MaxWindow)}, "more credit"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, s := newPuppet(t, mux.Config{}, c.client)
			p.say(c.say...)
			f := p.hear(tunnel.TypeGoAway)
			code, words, err := tunnel.ParseReason(f.Payload)
			if err != nil || code != tunnel.ResetProtocol || !strings.Contains(words, c.want) {
				t.Errorf("the peer was told %v %q, %v", code, words, err)
			}
			if err := s.wait(t); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// TestGarbage is refused at the first frame that is none.
func TestGarbage(t *testing.T) {
	p, s := newPuppet(t, mux.Config{}, false)
	_ = p.conn.SetWriteDeadline(time.Now().Add(within))
	_, _ = p.conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	if err := s.wait(t); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "unknown type 71") {
		t.Errorf("Run: %v", err)
	}
}

// TestLateFramesAreNoOffence: what was under way when a stream ended is passed over.
func TestLateFramesAreNoOffence(t *testing.T) {
	p, s := newPuppet(t, mux.Config{}, false)
	p.say(open(1))
	st, err := s.Session.Accept(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	st.Reset(tunnel.ResetRevoked, "")
	p.hear(tunnel.TypeReset)
	p.say(data(1, 60_000), window(1, 100), bare(tunnel.TypeFin, 1), data(1, 100), reset(1, 4), ping(7))
	if f := p.hear(tunnel.TypePing); f.Flags == 0 {
		f = p.hear(tunnel.TypePing)
		if f.Payload[7] != 7 {
			t.Errorf("%+v", f)
		}
	}
}

// TestAPeerThatFloodsAndDoesNotRead ends its session: neither pings nor opens pile up.
func TestAPeerThatFloodsAndDoesNotRead(t *testing.T) {
	for name, frame := range map[string]func(i int) tunnel.Frame{
		"pings": func(i int) tunnel.Frame { return ping(byte(i)) },
		"opens": func(i int) tunnel.Frame { return open(uint32(2*i + 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pipe()
			s := run(t, mux.Server(a, mux.Config{AcceptBacklog: 1}))
			defer b.Close()
			var err error
			for i := 0; err == nil && i < 100_000; i++ {
				var bytes []byte
				bytes, _ = tunnel.AppendFrame(nil, frame(i))
				_ = b.SetWriteDeadline(time.Now().Add(within))
				_, err = b.Write(bytes)
			}
			if err := s.wait(t); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "faster than it reads") {
				t.Errorf("Run: %v", err)
			}
		})
	}
}
