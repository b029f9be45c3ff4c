package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// connectPair is a target, and where it is to be on this machine.
type connectPair struct {
	target targetName
	local  string // HOST:PORT
}

// placed is a target that is here now.
type placed struct {
	Target   string    `json:"target"`
	Protocol string    `json:"protocol"`
	Address  string    `json:"address"`
	Grant    string    `json:"grant"`
	Until    time.Time `json:"until"`

	listener net.Listener
}

func newConnect(w *world) *cobra.Command {
	var (
		out    output
		asking accessAsking
		local  string
		others bool
	)
	c := &cobra.Command{
		Use:   "connect TARGET[=ADDRESS]...",
		Short: "Make targets that somebody let you into reachable on this machine",
		Long: `Listen on this machine and take every connection into a target, [TENANT/]NETWORK/NAME, that a grant lets you into: remote desktops, databases,
controllers, anything over TCP, many connections at once. It goes on until it is interrupted or the last grant ends; a link that is lost is found
again by the same grant. ADDRESS is HOST:PORT or a port of 127.0.0.1; a free port when absent.`,
		Example: `  isthmus connect plant-7/press-4-rdp --local 127.0.0.1:13389
  isthmus connect plant-7/press-4-plc=1502 plant-7/press-4-web=127.0.0.1:8080
  isthmus connect ot/plant-7/press-4-rdp --reason "spindle 2 trips, ticket 4711"`,
		Args: cobra.MinimumNArgs(1),
	}
	a := addAccessWay(w, c)
	asking.addTo(c)
	out.addTo(c, outTable, outJSON, outYAML)
	f := c.Flags()
	f.StringVar(&local, "local", "", "`ADDRESS` to listen at, for a single target")
	f.BoolVar(&others, "allow-others", false, "listen on addresses that other machines reach: they come in as you")
	c.ValidArgsFunction = a.completeTargets("")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := asking.check(c); err != nil {
			return err
		}
		pairs, err := connectPairs(args, local, others)
		if err != nil {
			return err
		}
		s, err := a.open()
		if err != nil {
			return err
		}
		defer s.Close()
		return s.connect(c.Context(), pairs, asking, out)
	}
	return c
}

func connectPairs(args []string, local string, others bool) ([]connectPair, error) {
	if local != "" && (len(args) > 1 || strings.Contains(args[0], "=")) {
		return nil, usagef("--local is for a single target").advise("write TARGET=ADDRESS for each: isthmus connect plant-7/plc=1502 plant-7/web=8080")
	}
	var out []connectPair
	for _, arg := range args {
		name, at, _ := strings.Cut(arg, "=")
		t, err := parseTarget(name)
		if err != nil {
			return nil, err
		}
		if t.login != "" {
			return nil, usagef("%q names an account, which only ssh has", name).advise("write isthmus ssh %s, or leave %s@ out", name, t.login)
		}
		at, err = localAddress(first(local, at, "0"), others)
		if err != nil {
			return nil, err
		}
		out = append(out, connectPair{t, at})
	}
	return out, nil
}

// localAddress reads HOST:PORT, or a port of this machine.
func localAddress(text string, others bool) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = "127.0.0.1", text
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", usagef("%q is no address to listen at", text).advise("write HOST:PORT or a port, such as 127.0.0.1:13389 or 13389")
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	at, err := netip.ParseAddr(host)
	if err != nil && host != "" {
		return "", usagef("%q is no address of this machine", host).advise("write an IP address, such as 127.0.0.1:%s", port)
	}
	if (host == "" || !at.IsLoopback()) && !others {
		return "", usagef("other machines can reach %s, and would come in as you", text).advise("listen on 127.0.0.1:%s, or give --allow-others if that is meant", port)
	}
	return net.JoinHostPort(host, port), nil
}

// connect listens for all pairs, and carries until the last grant has ended.
func (s *accessSession) connect(ctx context.Context, pairs []connectPair, asking accessAsking, out output) error {
	w := s.w
	var here []*placed
	defer func() {
		for _, p := range here {
			_ = p.listener.Close()
		}
	}()
	for _, pair := range pairs {
		g, err := asking.letIn(ctx, s, pair.target)
		if err != nil {
			return err
		}
		l, err := listenHere(ctx, pair.local)
		if err != nil {
			return err
		}
		here = append(here, &placed{
			Target: g.Target, Protocol: first(string(g.Protocol), string(resource.ProtocolTCP)), Address: l.Addr().String(), Grant: g.ID, Until: g.Until, listener: l,
		})
	}
	if err := w.printPlaced(here, out); err != nil {
		return err
	}
	live := w.beginBlock(s.dialer)
	defer live.end()
	return s.running(ctx, func(ctx context.Context, d *dialer.Dialer) error {
		failures := make([]error, len(here))
		var all sync.WaitGroup
		for i, p := range here {
			all.Go(func() {
				err := d.Forward(ctx, p.listener, p.Grant, func(err error) { live.say("%s: %s", p.Target, fault.Message(err)) })
				failures[i] = s.whatBecame(ctx, p.Grant, err)
				if failures[i] != nil && len(here) > 1 {
					live.say("%s: %s", p.Target, fault.Message(failures[i]))
				}
			})
		}
		all.Wait()
		for _, err := range failures {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// whatBecame puts who ended a grant and why into the words about its end, where the control plane tells.
func (s *accessSession) whatBecame(ctx context.Context, id string, err error) error {
	switch fault.KindOf(err) {
	case fault.Denied, fault.Expired:
	default:
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	g, asked := s.Grant(ctx, id)
	if asked != nil || !g.State.Final() {
		return err
	}
	how := "has ended"
	if g.State == grant.Revoked {
		how = "was revoked"
	}
	words := fmt.Sprintf("the grant %s for %s %s", g.ID, g.Target, how)
	if g.EndedBy != "" {
		words += " by " + g.EndedBy
	}
	if g.EndReason != "" {
		words += ": " + g.EndReason
	}
	return fault.New("isthmus.connect", fault.KindOf(err), words).Because(err).Advise("ask for another: isthmus access request %s --reason TEXT", g.Target)
}

func listenHere(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.New("isthmus.listen", fault.Conflict, "cannot listen at "+address+": "+lastWords(err)).Because(err).
			Advise("choose another address, or 127.0.0.1:0 for any port that is free")
	}
	return l, nil
}

// printPlaced says what is where, and how programs are told.
func (w *world) printPlaced(here []*placed, out output) error {
	if out.structured() {
		return out.write(w, struct {
			Listeners []*placed `json:"listeners"`
		}{here})
	}
	for _, p := range here {
		w.printf("%s is at %s until %s\n", p.Target, p.Address, w.at(p.Until))
		_, port, _ := net.SplitHostPort(p.Address)
		switch resource.TargetProtocol(p.Protocol) {
		case resource.ProtocolRDP:
			w.printf("  mstsc /v:%s\n  xfreerdp /v:%s\n", p.Address, p.Address)
		case resource.ProtocolSSH:
			w.printf("  ssh -p %s %s\n", port, strings.TrimSuffix(p.Address, ":"+port))
		default:
		}
	}
	return nil
}

// lastWords is the innermost reason of a network error, without the addresses that stand around it already.
func lastWords(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
