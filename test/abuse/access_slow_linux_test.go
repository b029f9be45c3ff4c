package abuse

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/dialer"
	sessions "github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Connections that begin and do not go on cost nobody else anything, and are ended.
func TestHalfOpenPeople(t *testing.T) {
	p := startShop(t)
	ctx := t.Context()
	alice, bob := p.person("alice", resource.RoleOperator), p.person("bob", resource.RoleApprover)
	slow, deaf := p.person("slow", resource.RoleOperator), p.person("deaf", resource.RoleOperator)
	mine, theirs := alice.letIn(bob, client.GrantRequest{}), deaf.letIn(bob, client.GrantRequest{})
	slow.arrives(slow.letIn(bob, client.GrantRequest{}))
	deaf.arrives(theirs)
	visitor := alice.visits()
	must(t, goesIn(ctx, visitor, mine.ID))
	in := use(t, "visits", 10*time.Millisecond, func() error { return goesIn(ctx, visitor, mine.ID) })
	relay, press := p.relay.watchMemory(), p.press.watchMemory()
	in.warm(50)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	// Half a hello; then who shakes hands and says nothing; then who pairs with the machine and says nothing there.
	pass, deafening := slow.mustPass(), deaf.mustPass()
	stranger := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 66, 6, 6)}, Timeout: 5 * time.Second} // the relay counts them by address
	for range more(2000, 10_000) {
		c, err := stranger.DialContext(ctx, "tcp", p.relayAt)
		if err != nil { // reset before we saw that it was there
			continue
		}
		open = append(open, c)
		_, _ = c.Write([]byte{22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3}) // to who is one too many, it fails
	}
	var silent []*signalling
	for range 50 {
		if s, err := p.signals(pass); err == nil {
			silent = append(silent, s)
		}
	}
	paired, refused := 0, 0
	for _, s := range silent[:min(len(silent), 2)] {
		for range 34 {
			if err := s.say(tunnel.Ask{Request: 1, Target: pass.Grants[0].Providers[0].ID}); err != nil {
				break
			}
			f, err := tunnel.ReadSignal(s.in)
			if err != nil {
				break
			}
			if issued, ok := f.(tunnel.Issued); ok {
				if _, err := p.shows(issued.Ticket); err == nil {
					paired++
					continue
				}
			}
			refused++
		}
	}
	t.Logf("%d silent at the relay, %d paired with the machine, %d refused", len(silent), paired, refused)
	if paired == 0 {
		t.Error("nobody who may come was paired")
	}
	for range 20 { // tunnels in which nothing is opened
		p.tunnel(deafening)
	}
	in.fine("beside half-open people", 10)
	// Sessions that nobody reads: what a greedy echo sends stays within its windows.
	reader := p.with(deafening)
	var unread []dialer.Conn
	for range 10 {
		c, err := reader.Dial(ctx, theirs.ID)
		must(t, err)
		unread = append(unread, c)
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for chunk := make([]byte, 64<<10); ; {
			if _, err := c.Write(chunk); err != nil {
				break
			}
		}
	}
	in.fine("beside sessions that nobody reads", 10)
	for _, c := range unread {
		_ = c.Close()
	}
	relay().within(t, 100)
	press().within(t, 200)
	must(t, p.reports())
}

// Ten thousand connections to the port of isthmus connect are a person's own trouble.
func TestConnectIsFlooded(t *testing.T) {
	p := startShop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()
	alice, bob := p.person("alice", resource.RoleOperator).login(), p.person("bob", resource.RoleApprover)
	alice.letIn(bob, client.GrantRequest{})
	at := "127.0.0.1:" + freePort(t)
	own := alice.home
	t.Cleanup(own.Stop)
	connect, err := own.Start("connect", "", nil, "connect", "ot/plant-7/echo", "--local", at)
	must(t, err)
	r := &running{connect, t}
	await(t, "isthmus connect", func() error {
		c, err := net.DialTimeout("tcp", at, time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		return echoed(c, 200)
	})
	telemetry := use(t, "telemetry", 10*time.Millisecond, p.reports)
	mine, press := r.watchMemory(), p.press.watchMemory()
	telemetry.warm(50)
	var open []net.Conn
	refused := 0
	for range 10_000 {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", at)
		if err != nil { // reset before we saw that it was there
			refused++
			continue
		}
		open = append(open, c)
	}
	t.Logf("%d connections, %d more were reset at once", len(open), refused)
	must(t, ctx.Err())
	telemetry.fine("beside a flooded isthmus connect", 5)
	for _, c := range open {
		_ = c.Close()
	}
	await(t, "a connection afterwards", func() error {
		c, err := net.DialTimeout("tcp", at, time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		return echoed(c, 200)
	})
	mine().within(t, 150)
	press().within(t, 100)
	own.Stop()
	if n := p.refusals(bob, sessions.TooMany); n > 20 {
		t.Errorf("%d refusals were told of one by one", n)
	}
	if n := strings.Count(r.Log(), "\n"); n > 200 || !strings.Contains(r.Log(), "takes no more") {
		t.Errorf("isthmus connect wrote %d lines:\n%s", n, r.tail())
	}
}
