package mux_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestCloseSendsWhatIsQueuedAndEndsBoth(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	text := strings.Repeat("z", 200<<10)
	mustWrite(t, ours, text)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.wait(t); err != nil {
		t.Errorf("the side that closed: %v", err)
	}
	if err := s.wait(t); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "closing") {
		t.Errorf("the other side: %v", err)
	}
	b, err := io.ReadAll(theirs)
	if string(b) != text || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("read %d bytes of %d, then %v", len(b), len(text), err)
	}
	for _, r := range []running{c, s} {
		select {
		case <-r.Done():
		default:
			t.Error("Done is open")
		}
		if _, err := r.Open(bounded(t), flow); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Open: %v", err)
		}
		if _, err := r.Session.Accept(bounded(t)); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Accept: %v", err)
		}
		if r.Usable() || r.Streams() != 0 {
			t.Errorf("usable %v, %d streams", r.Usable(), r.Streams())
		}
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
}

func TestAFinThatCameStaysAnEndOfFile(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	mustWrite(t, ours, "all of it")
	_ = ours.CloseWrite()
	_ = c.Close()
	_ = s.wait(t)
	if b, err := io.ReadAll(theirs); err != nil || string(b) != "all of it" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestTheEndOfTheContextClosesTheSession(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := mux.Client(a, mux.Config{}).Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := a.Write(nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection is open: %v", err)
	}
}

func TestASessionThatNeverRan(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	s := mux.Client(a, mux.Config{})
	st, err := s.Open(t.Context(), flow)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if _, err := st.Read(make([]byte, 1)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Read: %v", err)
	}
	if err := s.Run(t.Context()); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestGoAway(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	early, err := c.Open(bounded(t), flow)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	s.GoAway()
	for c.Usable() {
		mustWrite(t, theirs, "x")
		mustRead(t, ours, "x")
	}
	if _, err := c.Open(bounded(t), flow); fault.KindOf(err) != fault.Unavailable || fault.Next(err) == "" {
		t.Errorf("Open after the peer's GoAway: %v", err)
	}
	back, err := s.Open(bounded(t), flow) // the other direction goes on
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	mustWrite(t, ours, "the old one goes on")
	mustRead(t, theirs, "the old one goes on")
}

func TestGoAwayRefusesWhatWasUnderWay(t *testing.T) {
	p, s := newPuppet(t, mux.Config{}, false)
	s.GoAway()
	p.hear(tunnel.TypeGoAway)
	p.say(open(1))
	f := p.hear(tunnel.TypeReset)
	if code, _, _ := tunnel.ParseReason(f.Payload); code != tunnel.ResetShuttingDown || f.Stream != 1 {
		t.Errorf("stream %d refused as %v", f.Stream, code)
	}
}

func TestMaxStreams(t *testing.T) {
	ctx := bounded(t)
	c, s := two(t, mux.Config{MaxStreams: 3})
	var held []*mux.Stream
	for range 3 {
		ours, theirs := streams(t, c, s)
		held = append(held, ours, theirs)
	}
	_, err := c.Open(ctx, flow)
	if fault.KindOf(err) != fault.Exhausted || fault.Next(err) == "" {
		t.Fatalf("one too many: %v", err)
	}
	held[0].Reset(tunnel.ResetPeer, "")
	// The peer holds its slot until its owner lets go, so this one is refused.
	if _, err := held[1].Read(make([]byte, 1)); err == nil {
		t.Fatal("no reset")
	}
	st, err := c.Open(ctx, flow)
	if err != nil {
		t.Fatal(err)
	}
	isReset(t, st.WaitAccepted(ctx), tunnel.ResetOverloaded, true)
	_ = st.Close()
	_ = held[1].Close()
	streams(t, c, s)
}

func TestOpeningAndResettingInAHurryTakesNoMoreThanTheBacklog(t *testing.T) {
	p, s := newPuppet(t, mux.Config{AcceptBacklog: 4}, false)
	for id := uint32(1); id < 20; id += 2 {
		p.say(open(id), reset(id, tunnel.ResetPeer))
	}
	p.say(ping(1))
	for id := uint32(9); id < 20; id += 2 {
		f := p.hear(tunnel.TypeReset)
		if code, _, _ := tunnel.ParseReason(f.Payload); code != tunnel.ResetOverloaded || f.Stream != id {
			t.Errorf("stream %d: %v", f.Stream, code)
		}
	}
	if n := s.Streams(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
	// Accept passes over those that are gone already, and then there is room.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Session.Accept(ended); fault.KindOf(err) != fault.Timeout {
		t.Fatalf("Accept: %v", err)
	}
	p.say(open(21))
	st, err := s.Session.Accept(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = st.Close()
}

func TestAcceptGivesUp(t *testing.T) {
	_, s := two(t, mux.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Session.Accept(ctx); fault.KindOf(err) != fault.Timeout {
		t.Errorf("Accept: %v", err)
	}
	if _, err := s.Open(ctx, flow); fault.KindOf(err) != fault.Timeout {
		t.Errorf("Open: %v", err)
	}
	if _, err := s.Open(t.Context(), tunnel.Flow{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Open of nothing: %v", err)
	}
}

func TestAStreamNeedsNoGoroutine(t *testing.T) {
	c, s := two(t, mux.Config{})
	streams(t, c, s)
	before := runtime.NumGoroutine()
	for range 500 {
		ours, theirs := streams(t, c, s)
		mustWrite(t, ours, "x")
		mustRead(t, theirs, "x")
	}
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("500 streams brought %d goroutines", after-before)
	}
}

func TestStatsAndMemoryComeBackToNothing(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	mustWrite(t, ours, strings.Repeat("x", 100_000))
	mustRead(t, theirs, strings.Repeat("x", 99_999))
	if st := s.Stats(); st.Accepted != 1 || st.Received == 0 || st.Held == 0 {
		t.Errorf("%+v", st)
	}
	_ = theirs.Close()
	if _, err := ours.Read(make([]byte, 1)); err == nil {
		t.Fatal("no reset")
	}
	mustPing(t, c, s)
	if st := s.Stats(); st.Held != 0 {
		t.Errorf("after the end of all streams: %+v", st)
	}
	if st := c.Stats(); st.Opened != 2 || st.Sent != 100_004 {
		t.Errorf("%+v", st)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const bound = 1 << 20
	p, s := newPuppet(t, mux.Config{MaxMemory: bound}, false)
	var kept []*mux.Stream
	for id := uint32(1); id < 80; id += 2 {
		p.say(open(id))
		st, err := s.Session.Accept(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, st)
	}
	for round := range 4 {
		for id := uint32(1); id < 80; id += 2 {
			p.say(data(id, 60_000))
		}
		p.say(ping(byte(round)))
		for f := p.hear(tunnel.TypePing); f.Flags == 0 || f.Payload[7] != byte(round); f = p.hear(tunnel.TypePing) {
		}
		if held := s.Stats().Held; held > 2*bound {
			t.Fatalf("%d bytes held in round %d, the bound is %d", held, round, bound)
		}
	}
	if s.Streams() == len(kept) {
		t.Error("no stream was reset")
	}
	for _, st := range kept {
		_ = st.Close()
	}
	if held := s.Stats().Held; held != 0 {
		t.Errorf("%d bytes held after all were closed", held)
	}
}

func TestTinyFramesDoNotEachHoldASegment(t *testing.T) {
	p, s := newPuppet(t, mux.Config{}, false)
	p.say(open(1))
	st, err := s.Session.Accept(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for range 100 {
		var all []tunnel.Frame
		for range 100 {
			all = append(all, data(1, 1))
		}
		p.say(all...)
	}
	p.say(ping(9))
	p.hear(tunnel.TypePing)
	mustRead(t, st, strings.Repeat("d", 100))
	if held := s.Stats().Held; held > 4*10_000 {
		t.Errorf("10,000 frames of a byte hold %d bytes", held)
	}
}

// A slow clock moves on by a second whenever it is read.
type slow struct{ reads atomic.Int64 }

func (c *slow) Now() time.Time { return time.Unix(c.reads.Add(1), 0) }

func (c *slow) After(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }

// grants plays a peer that uses all its credit and returns the size of the grants it gets and the most it had outstanding.
func grants(t *testing.T, cfg mux.Config, clk clock.Clock) (sizes []int, most int) {
	cfg.Clock = clk
	p, s := newPuppet(t, cfg, false)
	p.say(open(1))
	st, err := s.Session.Accept(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, st) }()
	credit := tunnel.InitialWindow
	for range 12 {
		most = max(most, credit)
		for credit > 0 {
			n := min(credit, 60_000)
			p.say(data(1, n))
			credit -= n
		}
		n, err := tunnel.ParseWindow(p.hear(tunnel.TypeWindow).Payload)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, int(n))
		credit += int(n)
	}
	_ = st.Close()
	return sizes, most
}

func TestTheWindowGrowsWithItsReader(t *testing.T) {
	const most = 1 << 20
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	sizes, had := grants(t, mux.Config{MaxWindow: most}, clock.NewFake(now))
	if last := sizes[len(sizes)-1]; last < most/2 || had > most {
		t.Errorf("a reader that keeps up: grants %d, at most %d outstanding", sizes, had)
	}
	sizes, had = grants(t, mux.Config{MaxWindow: most}, &slow{})
	if last := sizes[len(sizes)-1]; last > tunnel.InitialWindow || had > tunnel.InitialWindow {
		t.Errorf("a slow reader: grants %d, at most %d outstanding", sizes, had)
	}
	_, had = grants(t, mux.Config{MaxWindow: most, MaxMemory: 2*tunnel.InitialWindow - 1}, clock.NewFake(now))
	if had > tunnel.InitialWindow {
		t.Errorf("no memory to grow: %d outstanding", had)
	}
}

func TestKeepAliveOverTLSWithCarriers(t *testing.T) {
	a, b := tlsPair(t, carried)
	c, s := run(t, mux.Client(a, mux.Config{KeepAlive: 10 * time.Millisecond})), run(t, mux.Server(b, mux.Config{}))
	ours, theirs := streams(t, c, s)
	mustWrite(t, ours, strings.Repeat("over TLS ", 10_000))
	mustRead(t, theirs, strings.Repeat("over TLS ", 10_000))
	for c.RTT() == 0 {
		runtime.Gosched()
	}
	_ = c.Close()
	if err := c.wait(t); err != nil {
		t.Error(err)
	}
	_ = s.wait(t)
}

func TestRunShakesHandsItself(t *testing.T) {
	cc, sc := tlsConfigs(t)
	a, b := tcpPair(t)
	c := run(t, mux.Client(tlsClient(mux.NewCarrier(a), cc), mux.Config{}))
	s := run(t, mux.Server(tlsServer(mux.NewCarrier(b), sc), mux.Config{}))
	ours, theirs := streams(t, c, s)
	mustWrite(t, ours, "x")
	mustRead(t, theirs, "x")
}

func TestAFailedHandshakeEndsRun(t *testing.T) {
	cc, sc := tlsConfigs(t)
	sc.MaxVersion, cc.MinVersion = 0x0303, 0x0304
	sc.MinVersion = 0x0303
	a, b := tcpPair(t)
	c := run(t, mux.Client(tlsClient(mux.NewCarrier(a), cc), mux.Config{}))
	s := run(t, mux.Server(tlsServer(mux.NewCarrier(b), sc), mux.Config{}))
	if err := c.wait(t); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("client: %v", err)
	}
	if err := s.wait(t); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("server: %v", err)
	}
}

// Whoever reads a stream takes io.EOF for the peer's end of data; a peer that is gone is something else, for writers too.
func TestTheEndOfTheSessionIsNoEndOfFile(t *testing.T) {
	for name, end := range map[string]func(s running, peer net.Conn){
		"the peer is gone": func(_ running, peer net.Conn) { _ = peer.Close() },
		"in a frame": func(_ running, peer net.Conn) {
			_, _ = peer.Write([]byte{byte(tunnel.TypeData), 0, 0})
			_ = peer.Close()
		},
		"closed here": func(s running, _ net.Conn) { _ = s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			go func() { _, _ = io.Copy(io.Discard, b) }()
			s := run(t, mux.Client(a, mux.Config{}))
			st, err := s.Open(bounded(t), flow)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			end(s, b)
			_, rerr := st.Read(make([]byte, 1))
			<-s.Done()
			_, werr := st.Write([]byte("x"))
			_, cerr := st.WriteTo(io.Discard)
			for what, err := range map[string]error{"Read": rerr, "Write": werr, "WriteTo": cerr, "WaitAccepted": st.WaitAccepted(bounded(t))} {
				if err == nil || errors.Is(err, io.EOF) || fault.KindOf(err) != fault.Unavailable {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}
