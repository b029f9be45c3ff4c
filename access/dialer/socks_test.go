package dialer

import (
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/socks5"
)

// socks starts a server over the names given and returns its address and what it tells.
func socks(t *testing.T, d *Dialer, names map[string]string) (address string, tell *told) {
	t.Helper()
	l := listen(t)
	tell = &told{}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- d.Socks(ctx, l, func(host string, port uint16) (string, error) {
			if g, ok := names[net.JoinHostPort(host, strconv.Itoa(int(port)))]; ok {
				return g, nil
			}
			return "", fault.New("test", fault.NotFound, "no target of yours is "+host)
		}, tell.tell)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), tell
}

// site is a web server as a target; curl asks it by a name that exists nowhere else.
func site(t *testing.T) string {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "hello from "+r.Host+", "+string(b))
	}), ReadHeaderTimeout: time.Second}
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); served.Wait() })
	return l.Addr().String()
}

func TestSocksWithCurl(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", site(t))
	d := w.dialer(Config{})
	address, tell := socks(t, d, map[string]string{"press-4-web.plant-7.ot:8080": "g-1", "10.20.0.9:8080": "g-1", "[fd00::9]:8080": "g-1"})
	for _, host := range []string{"press-4-web.plant-7.ot", "10.20.0.9", "[fd00::9]"} {
		out, err := exec.Command("curl", "-sS", "--max-time", "10", "--socks5-hostname", address, "-d", "body", "http://"+host+":8080/").CombinedOutput()
		if want := "hello from " + host + ":8080, body"; err != nil || string(out) != want {
			t.Errorf("%s: %q, %v", host, out, err)
		}
	}
	out, err := exec.Command("curl", "-sS", "--max-time", "10", "--socks5-hostname", address, "http://another.host:8080/").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "(2)") { // "cannot complete SOCKS5 connection to another.host. (2)"
		t.Errorf("%q, %v", out, err)
	}
	if got := tell.words(); len(got) != 1 || got[0] != "no target of yours is another.host" {
		t.Errorf("told %q", got)
	}
}

// ask sends a greeting and a request, and returns the answer to the latter.
func ask(t *testing.T, address string, request []byte) (reply byte, rest net.Conn) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = c.Write([]byte{5, 1, 0})
	var b [2]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || b != [2]byte{5, 0} {
		t.Fatalf("%v, %v", b, err)
	}
	_, _ = c.Write(request)
	var answer [10]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		t.Fatal(err)
	}
	return answer[1], c
}

func named(host string) []byte {
	return append(append([]byte{5, 1, 0, 3, byte(len(host))}, host...), 0, 80)
}

func TestSocksReplies(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	w.grant("g-dead", "127.0.0.1:1")
	w.grant("g-refused", "")
	w.change("g-refused", func(g *PassGrant) { g.From = time.Now().Add(-time.Hour) })
	w.set(func() { delete(w.inForce, "g-refused") })
	d := w.dialer(Config{})
	address, _ := socks(t, d, map[string]string{"good:80": "g-1", "dead:80": "g-dead", "refused:80": "g-refused"})
	bind, udp := named("good"), named("good")
	bind[1], udp[1] = byte(socks5.Bind), byte(socks5.UDPAssociate)
	for what, c := range map[string]struct {
		request []byte
		want    socks5.Reply
	}{
		"unknown":                {named("elsewhere"), socks5.NotAllowed},
		"refused":                {named("refused"), socks5.NotAllowed},
		"a target that is dead":  {named("dead"), socks5.HostUnreachable},
		"BIND":                   {bind, socks5.CommandNotSupported},
		"UDP ASSOCIATE":          {udp, socks5.CommandNotSupported},
		"a family there is not":  {[]byte{5, 1, 0, 2, 1, 2, 3, 4, 0, 80}, socks5.FamilyNotSupported},
		"a name that is not one": {named("a b"), socks5.GeneralFailure},
	} {
		got, rest := ask(t, address, c.request)
		if socks5.Reply(got) != c.want {
			t.Errorf("%s: answered %d", what, got)
		}
		if n, err := rest.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: the connection goes on", what)
		}
	}
	// What a hasty client sends behind its request is the target's.
	got, rest := ask(t, address, append(named("good"), "early"...))
	if socks5.Reply(got) != socks5.Succeeded {
		t.Fatalf("answered %d", got)
	}
	_ = rest.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(rest); err != nil || string(b) != "early" {
		t.Errorf("%q, %v", b, err)
	}
}

// Who comes from elsewhere gets no word, whatever the listener listens on.
func TestSocksIsForThisMachine(t *testing.T) {
	w := newWorld(t)
	d := w.dialer(Config{})
	near, far := net.Pipe()
	tell := &told{}
	d.socks(t.Context(), from{far, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}}, nil, tell.tell)
	if _, err := near.Read(make([]byte, 1)); err == nil {
		t.Error("it was answered")
	}
	if got := tell.words(); len(got) != 1 || !strings.Contains(got[0], "192.0.2.1") {
		t.Errorf("told %q", got)
	}
}

type from struct {
	net.Conn
	remote net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.remote }

// A client that says nothing holds a place, and no longer than it may; it ends with the server too.
func TestASilentSocksClient(t *testing.T) {
	w := newWorld(t)
	d := w.dialer(Config{})
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Socks(ctx, l, nil, nil) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte{5, 1})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, c) // it ends
}
