package flow_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestHalfClosePassesEachWayByItself(t *testing.T) {
	w := newWorld(t)
	w.start()
	client, target := w.dial("127.0.0.1")
	send(t, client, "question")
	must(t, client.CloseWrite())
	expect(t, target, "question")
	expectEnd(t, target)
	send(t, target, "an answer after the end")
	expect(t, client, "an answer after the end")
	must(t, target.CloseWrite())
	expectEnd(t, client)

	client, target = w.dial("127.0.0.1")
	must(t, target.CloseWrite())
	expectEnd(t, client)
	send(t, client, "still talking")
	expect(t, target, "still talking")
	must(t, client.CloseWrite())
	expectEnd(t, target)
	w.await("flows to end", func() bool { return len(w.endpoints.Flows())+len(w.services.Flows()) == 0 })
	w.await("streams to end", func() bool { return w.consumer.Streams()+w.provider.Streams() == 0 })
}

func TestResetPassesAsReset(t *testing.T) {
	w := newWorld(t)
	w.start()
	for name, c := range map[string]func(client, target *net.TCPConn){
		"from the client": func(client, target *net.TCPConn) { hardClose(client); expectReset(t, target) },
		"from the target": func(client, target *net.TCPConn) { hardClose(target); expectReset(t, client) },
		"from the client after its end of data": func(client, target *net.TCPConn) {
			must(t, client.CloseWrite())
			expectEnd(t, target)
			hardClose(client)
			w.await("the flow to end", func() bool { return len(w.services.Flows()) == 0 })
			w.await("writing to fail", func() bool { _, err := target.Write([]byte("x")); return err != nil })
		},
		"from the target after its end of data": func(client, target *net.TCPConn) {
			must(t, target.CloseWrite())
			expectEnd(t, client)
			hardClose(target)
			w.await("the flow to end", func() bool { return len(w.endpoints.Flows()) == 0 })
			w.await("writing to fail", func() bool { _, err := client.Write([]byte("x")); return err != nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, target := w.dial("127.0.0.1")
			send(t, client, "a")
			expect(t, target, "a")
			c(client, target)
		})
	}
	w.await("flows to end", func() bool { return len(w.endpoints.Flows())+len(w.services.Flows()) == 0 })
}

func TestALostTunnelIsAReset(t *testing.T) {
	w := newWorld(t)
	w.start()
	client, target := w.dial("127.0.0.1")
	send(t, client, "a")
	expect(t, target, "a")
	w.cut()
	expectReset(t, client)
	expectReset(t, target)
}

func TestALostTunnelEndsAFlowThatHadSaidItsHalf(t *testing.T) {
	w := newWorld(t)
	w.start()
	client, target := w.dial("127.0.0.1")
	must(t, target.CloseWrite())
	expectEnd(t, client)
	w.cut()
	w.await("writing to fail", func() bool { _, err := client.Write([]byte("x")); return err != nil })
	expectReset(t, target)
	w.await("the flow to end", func() bool { return len(w.endpoints.Flows())+len(w.services.Flows()) == 0 })
}

func TestProxyHeaderGoesFirstAndProvesItself(t *testing.T) {
	w := newWorld(t)
	key := bytes.Repeat([]byte{9}, 32)
	w.serves[0].ProxyProtocol, w.serves[0].LinkKey = true, key
	w.start()
	client, target := w.dial("127.0.0.2")
	send(t, client, "hello")
	h, err := proxyproto.Read(target)
	must(t, err)
	if id, ok := h.LinkID(); !ok || id != 8 {
		t.Errorf("link id %d", id)
	}
	if want := client.LocalAddr().(*net.TCPAddr).AddrPort(); h.Source != want {
		t.Errorf("source %s, want %s", h.Source, want)
	}
	if want := w.target.Addr().(*net.TCPAddr).AddrPort(); h.Destination != want {
		t.Errorf("destination %s, want %s", h.Destination, want)
	}
	if _, err := proxyproto.Verify(key, &h, time.Now(), time.Minute); err != nil {
		t.Error(err)
	}
	expect(t, target, "hello")

	w.serves[0].LinkKey = nil
	w.services.Set(w.serves)
	_, target = w.dial("127.0.0.1")
	h, err = proxyproto.Read(target)
	must(t, err)
	if _, has := h.TLV(proxyproto.TypeProof); has || len(h.TLVs) != 1 {
		t.Errorf("without a key the header has %+v", h.TLVs)
	}
}

func TestTargetThatCannotBeReached(t *testing.T) {
	w := newWorld(t)
	w.serves[0].Ports[0].TargetPort = freePort(t, "127.0.0.1")
	w.start()
	w.expectNo("127.0.0.1")
	w.await("the words", func() bool {
		return strings.Contains(strings.Join(w.endpoints.Problems(), ";"), "ot/plant-7/a: the service's target refuses connections")
	})
	if w.refused("service", "target-refused") != 1 || w.refused("endpoint", "target-refused") != 1 {
		t.Error("not counted on both sides")
	}
	w.serves[0].Target = "no-such-host.invalid"
	w.services.Set(w.serves)
	w.expectNo("127.0.0.1")
	w.await("the other words", func() bool {
		return strings.Contains(strings.Join(w.endpoints.Problems(), ";"), "cannot reach the service's target")
	})

	w.serves = []plan.Service{w.service("svc", []plan.Link{w.link("ep-a", 7)})}
	w.services.Set(w.serves)
	client, target := w.dial("127.0.0.1")
	send(t, target, "hello")
	expect(t, client, "hello")
	if p := w.endpoints.Problems(); len(p) != 0 {
		t.Errorf("a flow that works leaves the problem standing: %q", p)
	}
}

func TestNoWayToTheProvider(t *testing.T) {
	w := newWorld(t)
	w.plan[0].Providers = nil
	w.start()
	w.expectNo("127.0.0.1")
	w.await("the words", func() bool {
		return strings.Contains(strings.Join(w.endpoints.Problems(), ";"), "no way to its provider")
	})
	w.plan[0].Providers = []plan.Peer{{ID: string(cloud)}}
	w.endpoints.Set(w.plan) // providers change without the listener being touched
	w.dial("127.0.0.1")
}

func TestBackPressureBoundsWhatIsHeld(t *testing.T) {
	w := newWorld(t)
	w.start()
	client, target := w.dial("127.0.0.1")
	other, otherTarget := w.dial("127.0.0.2")
	_ = client.SetWriteDeadline(time.Now().Add(700 * time.Millisecond))
	block := make([]byte, 1<<20)
	_, _ = rand.Read(block)
	var written int64
	for {
		n, err := client.Write(block)
		written += int64(n)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
		if written > 256<<20 {
			t.Fatal("a target that does not read holds nobody back")
		}
	}
	t.Logf("%d KiB are under way", written>>10)
	if written > 48<<20 {
		t.Errorf("%d MiB are held for a target that does not read", written>>20)
	}
	send(t, other, "the neighbour is not held back")
	expect(t, otherTarget, "the neighbour is not held back")
	must(t, client.CloseWrite())
	var got int64
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(target, buf)
		if !bytes.Equal(buf[:n], block[:n]) {
			t.Fatalf("bytes differ behind %d", got)
		}
		got += int64(n)
		if err != nil {
			break
		}
	}
	if got != written {
		t.Errorf("%d bytes of %d arrived", got, written)
	}
}

func TestAnAddressThatIsNotThereYet(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := newWorld(t, flow.WithClock(clk))
	taken, err := net.Listen("tcp", netip.AddrPortFrom(w.plan[0].Address, w.port).String())
	must(t, err)
	w.services.Set(w.serves)
	w.endpoints.Set(w.plan[:1])
	w.await("the problem", func() bool {
		return strings.Contains(strings.Join(w.endpoints.Problems(), ";"), "ot/plant-7/a: cannot listen on 127.0.0.1:")
	})
	_ = taken.Close()
	w.await("the listener", func() bool { clk.Advance(time.Second); return len(w.endpoints.Listening()) == 1 })
	if p := w.endpoints.Problems(); len(p) != 0 {
		t.Errorf("the problem stays: %q", p)
	}
	w.dial("127.0.0.1")
}

func TestFlowsAreBounded(t *testing.T) {
	w := newWorld(t, flow.WithMaxFlows(2))
	w.start()
	first, _ := w.dial("127.0.0.1")
	w.dial("127.0.0.1")
	w.expectNo("127.0.0.1")
	if w.refused("endpoint", "full") != 1 || len(w.endpoints.Problems()) != 1 {
		t.Errorf("not told: %q", w.endpoints.Problems())
	}
	w.dial("127.0.0.2")
	hardClose(first)
	w.await("room", func() bool { return len(w.endpoints.Flows()) == 2 && len(w.services.Flows()) == 2 })
	w.dial("127.0.0.1")

	s, err := w.consumer.Open(t.Context(), tunnel.Flow{Endpoint: "ep-a", Port: w.port}) // a consumer that has no such bound
	must(t, err)
	defer s.Close()
	_, err = s.Read(make([]byte, 1))
	if r, ok := errors.AsType[*mux.ResetError](err); !ok || r.Code != tunnel.ResetOverloaded {
		t.Errorf("got %v", err)
	}
}

func TestFlowsTellWhatTheyMoved(t *testing.T) {
	w := newWorld(t)
	w.start()
	client, target := w.dial("127.0.0.1")
	send(t, client, "12345")
	expect(t, target, "12345")
	send(t, target, "123")
	expect(t, client, "123")
	for side, list := range map[string]func() []flow.Info{"consumer": w.endpoints.Flows, "provider": w.services.Flows} {
		w.await(side, func() bool {
			l := list()
			return len(l) == 1 && l[0].Sent == 5 && l[0].Received == 3 && l[0].Endpoint == "ep-a" && l[0].Port == w.port &&
				l[0].Client == client.LocalAddr().(*net.TCPAddr).AddrPort() && !l[0].Since.IsZero()
		})
	}
	if p := w.services.Flows()[0].Peer; p != plant {
		t.Errorf("peer %s", p)
	}
}

func TestManyBytesBothWaysArriveAsSent(t *testing.T) {
	w := newWorld(t)
	w.start()
	client, target := w.dial("127.0.0.1")
	data := make([]byte, 24<<20+17)
	_, _ = rand.Read(data)
	errs := make(chan error, 4)
	for _, c := range []*net.TCPConn{client, target} {
		go func() {
			_, err := c.Write(data)
			errs <- errors.Join(err, c.CloseWrite())
		}()
		go func() {
			got, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(got, data) {
				err = errors.New("bytes differ")
			}
			errs <- err
		}()
	}
	for range 4 {
		must(t, <-errs)
	}
}

func TestRunEndsWhatItStarted(t *testing.T) {
	w := newWorld(t)
	e := flow.NewEndpoints(opener{w.consumer}, discard(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	w.services.Set(w.serves)
	e.Set(w.plan)
	w.await("listening", func() bool { return len(e.Listening()) == 2 })
	client, _ := w.dial("127.0.0.1")
	cancel()
	must(t, <-ended)
	expectReset(t, client)
	if len(e.Flows()) != 0 || len(e.Listening()) != 0 {
		t.Error("something is left")
	}
	e.Set(w.plan)
	if len(e.Listening()) != 0 {
		t.Error("a plan after the end is carried out")
	}
}
