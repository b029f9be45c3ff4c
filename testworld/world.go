package testworld

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/node"
)

// Config is how a world is made. The zero value works.
type Config struct {
	Dir   string       // where everything is kept; a temporary directory, removed by Close, when empty
	Log   *slog.Logger // nothing is logged when nil
	Clock clock.Clock  // the machine's when nil
	Block netip.Addr   // 127.x.0.0, the world's own block of loopback addresses; a free one when invalid
}

// World is a running deployment.
type World struct {
	Client *client.Client // the API, as administrator
	Tap    *Tap           // reads what passes the relay
	Admin  string         // the administrator's token

	RelayAddress  string // the one address agents and people need
	ServerAddress string // the control plane's own
	CAFile        string
	Dir           string

	cfg       Config
	mark      io.Closer // keeps others from the block
	temporary bool
	server    *Process
	relay     *Process

	mu        sync.Mutex // guards the field below
	processes []*Process
}

// Start makes a world with a control plane and a relay and nothing else.
func Start(ctx context.Context, cfg Config) (w *World, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	w = &World{cfg: cfg, Dir: cfg.Dir}
	if w.Dir == "" {
		if w.Dir, err = os.MkdirTemp("", "isthmus-world-"); err != nil {
			return nil, err
		}
		w.temporary = true
	}
	made := w
	defer func() {
		if err != nil {
			_ = made.Close()
		}
	}()
	if !w.cfg.Block.IsValid() {
		if w.cfg.Block, w.mark, err = freeBlock(ctx); err != nil {
			return nil, err
		}
	}
	if w.Tap, err = newTap(ctx, "127.0.0.1:0"); err != nil {
		return nil, err
	}
	w.RelayAddress = w.Tap.listener.Addr().String()
	var serverListen, relayListen string
	var ready node.ServerReady
	w.server = w.process("server", func(ctx context.Context, up func()) error {
		return node.Server(ctx, node.ServerConfig{
			DataDir: filepath.Join(w.Dir, "server"), Listen: serverListen, Advertise: []string{w.RelayAddress}, TrustDomain: "isthmus.test", Version: "testworld",
			Ready: func(r node.ServerReady) {
				if ready.Address == "" {
					ready = r
				}
				up()
			},
		}, w.log("server"), w.cfg.Clock, prometheus.NewRegistry())
	})
	if err = w.server.startOn(ctx, &serverListen); err != nil {
		return nil, err
	}
	w.ServerAddress, w.Admin, w.CAFile = ready.Address, ready.AdminToken, ready.CAFile
	roots, err := os.ReadFile(w.CAFile)
	if err != nil {
		return nil, err
	}
	// Through the relay, as people would; straight to the server while the relay is not there.
	if w.Client, err = client.New(client.Config{Addresses: []string{w.ServerAddress}, Roots: roots, Token: w.Admin, Clock: w.cfg.Clock}); err != nil {
		return nil, err
	}
	token, err := w.Client.CreateJoinToken(ctx, client.JoinTokenRequest{For: "relay", Name: "relay-1"})
	if err != nil {
		return nil, err
	}
	rc := node.RelayConfig{DataDir: filepath.Join(w.Dir, "relay-1"), Address: w.RelayAddress, Control: w.ServerAddress, Version: "testworld"}
	if err = node.JoinRelay(ctx, rc, token.Secret, "relay-1", w.cfg.Clock); err != nil {
		return nil, err
	}
	w.relay = w.process("relay-1", func(ctx context.Context, up func()) error {
		rc := rc
		rc.Listen, rc.Ready = relayListen, func(string) { up() }
		return node.Relay(ctx, rc, w.log("relay-1"), w.cfg.Clock, prometheus.NewRegistry())
	})
	if err = w.relay.startOn(ctx, &relayListen); err != nil {
		return nil, err
	}
	w.Tap.start(relayListen)
	return w, nil
}

// Server and Relay can be stopped and started again.
func (w *World) Server() *Process { return w.server }

// Relay is the world's relay.
func (w *World) Relay() *Process { return w.relay }

// Address returns the world's address 127.x.site.host.
func (w *World) Address(site, host byte) netip.Addr {
	b := w.cfg.Block.As4()
	return netip.AddrFrom4([4]byte{b[0], b[1], site, host})
}

// Range returns the world's block 127.x.site.0/24.
func (w *World) Range(site byte) netip.Prefix { return netip.PrefixFrom(w.Address(site, 0), 24) }

// Apply applies manifests as the administrator.
func (w *World) Apply(ctx context.Context, text string) error {
	set, err := manifest.Parse("manifest", []byte(text))
	if err != nil {
		return err
	}
	_, err = w.Client.Apply(ctx, set.Objects(), client.ApplyOptions{Reason: "testworld"})
	return err
}

func (w *World) log(name string) *slog.Logger { return w.cfg.Log.With("process", name) }

func (w *World) process(name string, run func(ctx context.Context, ready func()) error) *Process {
	p := &Process{Name: name, run: run}
	w.mu.Lock()
	w.processes = append(w.processes, p)
	w.mu.Unlock()
	return p
}

// Close ends everything, waits for it, and removes the world's files.
func (w *World) Close() error {
	var errs []error
	w.mu.Lock()
	all := w.processes
	w.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		if err := all[i].Stop(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", all[i].Name, err))
		}
	}
	if w.Client != nil {
		w.Client.Close()
	}
	if w.Tap != nil {
		w.Tap.close()
	}
	if w.mark != nil {
		_ = w.mark.Close()
	}
	if w.temporary {
		errs = append(errs, os.RemoveAll(w.Dir))
	}
	return errors.Join(errs...)
}

// markPort is listened on, where devices find the first hub, for as long as a world has its block: nothing in it needs this port.
const markPort = 8882

func freePort(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// freeBlock finds a 127.x.0.0 that no other world has. It is another's again when the mark is closed.
func freeBlock(ctx context.Context) (block netip.Addr, mark io.Closer, err error) {
	var lc net.ListenConfig
	start := rand.IntN(200)
	for i := range 200 {
		a := netip.AddrFrom4([4]byte{127, byte(20 + (start+i)%200), 0, 0})
		b := a.As4()
		b[2], b[3] = 7, 4
		mark, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(netip.AddrFrom4(b), markPort).String())
		if err != nil {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(netip.AddrFrom4(b), 8883).String())
		if err == nil {
			l.Close()
			return a, mark, nil
		}
		mark.Close()
	}
	return netip.Addr{}, nil, fault.New("testworld.Start", fault.Exhausted, "no free block of loopback addresses was found").
		Advise("on systems other than Linux, add the addresses first: sudo ifconfig lo0 alias 127.77.7.4")
}
