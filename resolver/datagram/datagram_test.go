package datagram_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/resolver/datagram"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers what arrives with its client's address in front, until the socket closes. What says "later" waits for the
// next "now".
func echo(t *testing.T, s *datagram.Socket, wait *sync.WaitGroup) {
	wait.Go(func() {
		b := s.NewBatch(8)
		var late []func()
		for {
			n, err := b.Read()
			if err != nil {
				return
			}
			for i := range n {
				if string(b.Packet(i)) == "now" {
					for _, f := range late {
						f()
					}
					late = nil
				}
				text := fmt.Appendf(b.Room(i), "%v %s", b.Client(i), b.Packet(i))
				if string(b.Packet(i)) == "later" {
					back := b.Return(i)
					late = append(late, func() {
						if err := s.Send(&back, text); err != nil {
							t.Error(err)
						}
					})
					continue
				}
				b.Answer(i, text)
			}
			b.Flush()
		}
	})
}

func listen(t *testing.T, at string, count int) netip.AddrPort {
	t.Helper()
	all, err := datagram.Listen(netip.MustParseAddrPort(at), count)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for _, s := range all {
		echo(t, s, &wait)
		if s.Addr() != all[0].Addr() {
			t.Errorf("listens on %v and %v", all[0].Addr(), s.Addr())
		}
	}
	t.Cleanup(func() {
		for _, s := range all {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		wait.Wait()
	})
	return all[0].Addr()
}

// A connected socket takes answers from the asked address only.
func dial(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func say(t *testing.T, c net.Conn, words ...string) {
	t.Helper()
	for _, w := range words {
		if _, err := c.Write([]byte(w)); err != nil {
			t.Fatal(err)
		}
	}
}

func hear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, 9000)
	n, err := c.Read(buf)
	if want = c.LocalAddr().String() + " " + want; err != nil || string(buf[:n]) != want {
		t.Errorf("got %d bytes %.60q (%v), want %.60q", n, buf[:n], err, want)
	}
}

func TestAnswersComeFromTheAskedAddress(t *testing.T) {
	for _, c := range []struct {
		listen string
		ask    []string
	}{
		{"127.0.0.1:0", []string{"127.0.0.1"}}, {"0.0.0.0:0", []string{"127.0.0.1", "127.0.0.53", "127.9.9.9"}},
		{"[::1]:0", []string{"::1"}}, {"[::]:0", []string{"::1", "127.0.0.1", "127.0.0.53"}},
	} {
		at := listen(t, c.listen, 2)
		for _, host := range c.ask {
			conn := dial(t, netip.AddrPortFrom(netip.MustParseAddr(host), at.Port()))
			say(t, conn, "now")
			hear(t, conn, "now")
			say(t, conn, "later", "now")
			first, second := make([]byte, 100), make([]byte, 100)
			n, err := conn.Read(first)
			m, err2 := conn.Read(second)
			if err != nil || err2 != nil || n+m != len(fmt.Sprint(conn.LocalAddr(), conn.LocalAddr(), "now", "later"))+1 {
				t.Errorf("%s %s: %q and %q (%v, %v)", c.listen, host, first[:n], second[:m], err, err2)
			}
		}
	}
}

func TestManyClientsAndLongDatagrams(t *testing.T) {
	at := listen(t, "127.0.0.1:0", 3)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			c := dial(t, at)
			for j := range 50 {
				word := fmt.Sprintf("%d-%d", i, j)
				say(t, c, word)
				hear(t, c, word)
			}
		})
	}
	all.Wait()
	c := dial(t, at)
	long := make([]byte, datagram.MaxQuery+1)
	for i := range long {
		long[i] = 'x'
	}
	say(t, c, string(long[:3000])) // longer than the room
	hear(t, c, string(long[:3000]))
	say(t, c, string(long))
	hear(t, c, string(long[:datagram.MaxQuery]))
	say(t, c, "")
	hear(t, c, "")
}

// Answers are made in a batch of many, while the socket of one client is gone.
func TestAClientThatIsGoneTakesNoAnswerAway(t *testing.T) {
	all, err := datagram.Listen(netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	s := all[0]
	gone, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here := dial(t, s.Addr())
	say(t, gone, "a", "b")
	say(t, here, "c")
	_ = gone.Close()
	b := s.NewBatch(8)
	for got := 0; got < 3; {
		n, err := b.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			b.Answer(i, append(b.Room(i), here.LocalAddr().String()+" "+string(b.Packet(i))...))
		}
		b.Flush()
		got += n
	}
	hear(t, here, "c")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(); err == nil {
		t.Error("a closed socket was read")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	all, err := datagram.Listen(netip.MustParseAddrPort("0.0.0.0:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = all[0].Close() }()
	c := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), all[0].Addr().Port()))
	b, buf := all[0].NewBatch(4), make([]byte, 100)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := c.Write(buf[:20]); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(); err != nil {
			t.Fatal(err)
		}
		_ = b.Client(0)
		b.Answer(0, append(b.Room(0), b.Packet(0)...))
		b.Flush()
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a datagram", n)
	}
}
