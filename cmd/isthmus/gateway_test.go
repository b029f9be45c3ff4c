package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/gatewayclient"
	"github.com/isthmus-io/isthmus/gateway/refusals"
	"github.com/isthmus-io/isthmus/localsocket"
)

// gatewayDir is short: a socket's path may have some 100 bytes.
func gatewayDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serveStatus plays a gateway process and returns what ends it.
func serveStatus(t *testing.T, dir string, status func() gateway.Status) (stop func()) {
	t.Helper()
	ln, err := localsocket.Listen(gatewayclient.Socket(dir))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(status())
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	return func() { _ = s.Close(); <-done }
}

func TestGatewayStatusWatchOutlivesTheProcess(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := gatewayDir(t)
	var accepted atomic.Uint64
	status := func() gateway.Status {
		return gateway.Status{Phase: "serving", Carrier: carry.Stats{Accepted: accepted.Add(1)}}
	}
	stop := serveStatus(t, dir, status)
	w, out, errs := testWorld(nil)
	fake := clock.NewFake(time.Now())
	w.clock = fake
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	go func() { done <- run(ctx, w, []string{"gateway", "status", "--data-dir", dir, "--watch", "-o", "json"}) }()
	until := func(s *screen, text string) {
		t.Helper()
		seen, moved := make(chan struct{}), make(chan struct{})
		go func() { // time goes on until it is there
			defer close(moved)
			for {
				select {
				case <-seen:
					return
				case <-time.After(time.Millisecond):
					fake.Advance(time.Second)
				}
			}
		}()
		s.await(text)
		close(seen)
		<-moved
	}
	until(out, `"accepted":2,`)
	stop()
	until(errs, "; trying again\n")
	accepted.Store(1000)
	stop = serveStatus(t, dir, status)
	defer stop()
	until(out, `"accepted":1002,`)
	cancel()
	if code := <-done; code != exitDone || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("code %d, errors %s", code, errs)
	}
	for line := range strings.Lines(out.String()) {
		var s gateway.Status
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.Phase != "serving" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// What matters is at the top, whatever a target or a client wrote.
func TestGatewayStatusForPeople(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	s := gateway.Status{
		Since: now.Add(-time.Hour), Phase: "draining",
		Carrier: carry.Stats{Open: 7, Passing: 4, Joining: 1, Opening: 2, Accepted: 100, Refused: 3, Full: 1, Dropped: 2, Failed: 4, Sent: 1500, Received: 20 << 20},
		Gateways: []gateway.FrontStatus{{
			Name: "ot/cloud/front", Connections: 7, Most: 100, OpenToAll: true, Allowlists: 1, Rules: 2, NextExpiry: now.Add(time.Hour),
			Listeners: []gateway.ListenerStatus{{Name: "mqtt", Address: netip.MustParseAddrPort("[::]:8883")}, {Name: "https", Problem: "address in use"}},
			Routes:    []gateway.RouteStatus{{Names: []string{"a.example"}, To: "the group hub"}, {To: "nothing", Problem: "there is no\x1b[2Jservice"}},
			Busiest:   []gateway.UseStatus{{Name: "ot/cloud/fabrikam/berlin", Connections: 7, Total: 90, Sent: 1024}, {Name: "ot/cloud/fabrikam/idle"}},
		}},
		Groups: []balance.GroupStatus{
			{Gateway: "ot/cloud/front", Name: "hub", Targets: []balance.TargetStatus{
				{Host: "10.0.0.1", Address: netip.MustParseAddrPort("10.0.0.1:8883"), State: "up", Since: now.Add(-time.Minute), Connections: 6, Total: 80},
				{Host: "hub.example", Address: netip.MustParseAddrPort("10.0.0.2:8883"), State: "down", Since: now.Add(-time.Minute), Failed: 4, Because: "refused"},
			}},
			{Gateway: "ot/cloud/front", Name: "none"},
			{Gateway: "ot/cloud/other", Name: "elsewhere"},
		},
		Refusals: []refusals.Count{{Gateway: "ot/cloud/front", Reason: "no-rule", N: 3}},
		Problems: []string{"the listener ot/cloud/front/https: address in use"},
	}
	w, out, _ := testWorld(nil)
	w.clock = clock.NewFake(now)
	var table output
	table.format = outTable
	if err := w.gatewayStatus(table, s, false, true); err != nil {
		t.Fatal(err)
	}
	want := `draining, started 1h ago
Connections:  7: 4 passing bytes, 1 waiting for a target, 2 for a ClientHello, 0 in tunnels
Since then:   100 accepted, 3 refused, 1.5 KiB to targets, 20 MiB from them, 1 reset because the process was full, 2 ended before their ClientHello, 4 attempts at targets failed

ot/cloud/front: 7 of at most 100 connections; 2 rules in 1 allowlist, the next expires 2026-11-22 04:00:00 UTC (in 1h); open to all

LISTENER  ADDRESS    STATE
mqtt      [::]:8883  listening
https     -          address in use

NAMES               LEADS TO       PROBLEM
a.example           the group hub  -
(every other name)  nothing        there is no?[2Jservice

GROUP  TARGET                       STATE      FOR  CONNECTIONS  ANSWERED  FAILED  LAST FAILURE
hub    10.0.0.2:8883 (hub.example)  down       60s  0            0         4       refused
none   -                            no target  -    -            -         -       -
hub    10.0.0.1:8883                up         60s  6            80        0       -

RULE                      CONNECTIONS  TOTAL  SENT     RECEIVED
ot/cloud/fabrikam/berlin  7            90     1.0 KiB  0 B

Refused most (isthmus gateway refusals tells who):
COUNT  REASON   RULE  NAME  GATEWAY
3      no-rule  -     -     ot/cloud/front

Problems:
  ! the listener ot/cloud/front/https: address in use
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestRefusalsLeadToWhy(t *testing.T) {
	w, out, _ := testWorld(nil)
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{
		"a.example":         " --sni a.example --listener mqtt\n",
		"$(reboot).example": " --source 203.0.113.9 --listener mqtt\n", // nothing that a shell would read
		"":                  " --source 203.0.113.9 --listener mqtt\n",
	} {
		w.recentRefusals(gateway.Refusals{Recent: []refusals.Refusal{
			{At: at, Gateway: "ot/cloud/front", Listener: "mqtt", Reason: "denied", Rule: "x/y", Name: name, Source: netip.MustParseAddr("203.0.113.9")},
		}}, "")
		if !strings.HasSuffix(out.String(), want) {
			t.Errorf("%q: %s", name, out)
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 KiB", 1536: "1.5 KiB", 20 << 20: "20 MiB", 999 << 20: "999 MiB", 1 << 40: "1.0 TiB", 1 << 63: "8.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestWhyTellsOfTargetsThatAreAway(t *testing.T) {
	x := gateway.Explanation{Most: 10, Targets: []balance.TargetStatus{{State: "down"}, {State: "ejected"}}}
	if got := uses(x); got != nil {
		t.Errorf("of a refusal: %q", got)
	}
	x.Allowed = true
	if got := uses(x); len(got) != 2 || !strings.Contains(got[1], "none of its targets works") {
		t.Errorf("%q", got)
	}
	x.Targets[1].State = "up"
	if got := uses(x); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
