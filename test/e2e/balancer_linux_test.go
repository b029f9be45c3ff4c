package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// wan is a site's address on its cable.
func (w *world) wan(ctx context.Context, site string) netip.Addr {
	w.t.Helper()
	out, err := exec.CommandContext(ctx, "ip", "-n", w.sites.Name(site), "-json", "-4", "addr", "show", "dev", "wan").Output()
	must(w.t, err)
	var list []struct {
		Addresses []struct {
			Local netip.Addr `json:"local"`
		} `json:"addr_info"`
	}
	must(w.t, json.Unmarshal(out, &list))
	return list[0].Addresses[0].Local
}

// balancer stands at the front address, as a cloud's does: it sends each new connection to one of the gateways' machines, keeps the
// client's address, and asks each machine whether it is ready.
type balancer struct {
	w       *world
	targets map[string]netip.Addr // by site

	mu    sync.Mutex // guards the field below
	ready []string
}

// balance makes the sites reachable on the gateway's ports, and the balancer in front of them.
func (w *world) balance(ctx context.Context, sites ...string) *balancer {
	w.t.Helper()
	b := &balancer{w: w, targets: map[string]netip.Addr{}}
	inet := w.sites.Internet()
	for _, s := range sites {
		b.targets[s] = w.wan(ctx, s)
		ip(w.t, "-n", w.sites.Name(s), "route", "add", "default", "via", b.targets[s].Prev().String())
		w.nft(w.sites.Name(s), "add rule inet site in tcp dport { 443, 4443, 8080, 8883 } accept")
	}
	for _, command := range []string{
		"add table ip front", "add chain ip front pick { type nat hook prerouting priority dstnat; }",
		"add chain ip front pass { type filter hook forward priority 0; policy drop; }", "add rule ip front pass ct state established,related accept", "add rule ip front pass ct status dnat accept",
	} {
		w.nft(inet, command)
	}
	if out, err := exec.CommandContext(ctx, "ip", "netns", "exec", inet, "sysctl", "-qw", "net.ipv4.ip_forward=1").CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); b.watch(watching) }()
	w.t.Cleanup(func() { stop(); <-done })
	return b
}

func (w *world) nft(ns, command string) {
	w.t.Helper()
	if out, err := exec.Command("ip", append([]string{"netns", "exec", ns, "nft"}, command)...).CombinedOutput(); err != nil {
		w.t.Fatalf("nft %s: %v: %s", command, err, out)
	}
}

// watch asks every machine ten times a second.
func (b *balancer) watch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	client := &http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		return b.w.dial("inet", addr)
	}}}
	for {
		var ready []string
		for site, at := range b.targets {
			resp, err := client.Get("http://" + at.String() + ":8080/ready")
			if err != nil {
				continue
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				ready = append(ready, site)
			}
		}
		b.set(ready)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *balancer) set(ready []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(ready) == len(b.ready) {
		return
	}
	b.ready = ready
	inet := b.w.sites.Internet()
	change := "flush chain ip front pick" // one transaction: no connection comes between
	choices := make([]string, len(ready))
	for i, s := range ready {
		choices[i] = fmt.Sprintf("%d : %s", i, b.targets[s])
	}
	if len(ready) > 0 {
		change += fmt.Sprintf("; add rule ip front pick ip daddr %s tcp dport { 443, 4443, 8883 } dnat to numgen inc mod %d map { %s }", front, len(ready), strings.Join(choices, ", "))
	}
	b.w.nft(inet, change)
}

// count is how many machines get connections now.
func (b *balancer) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ready)
}

// waitFor waits until so many machines get connections.
func (b *balancer) waitFor(n int) error {
	if got := b.count(); got != n {
		return fmt.Errorf("%d machines get connections, not %d", got, n)
	}
	return nil
}
