package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/testworld"
)

// ShowConfig says what is shown, where. In and Out are needed.
type ShowConfig struct {
	Sensors  int
	Log      *slog.Logger
	Program  string // how a person calls this program
	Terminal bool   // In and Out are one
	In       io.Reader
	Out      io.Writer
	// Login makes a context for the demo's control plane and returns the file it is in.
	Login func(dir, server, caFile, token string) (string, error)
}

// stage is what the screen looks at.
type stage struct {
	*testworld.Scenario
	cfg     ShowConfig
	began   time.Time
	context string // file of the login
	yours   string // connection string of the device kept for the person watching

	sent, acked, online atomic.Int64
	latency             atomic.Int64 // of the last acknowledgement, nanoseconds
	office              atomic.Int64 // messages the office's device had acknowledged
}

// Show runs the world until ctx ends or the person quits.
func Show(ctx context.Context, cfg ShowConfig) (err error) {
	if cfg.Sensors <= 0 {
		cfg.Sensors = 10
	}
	_, _ = fmt.Fprintln(cfg.Out, "building a world on loopback: two tenants, three networks, a relay, a hub …")
	w, err := testworld.Start(ctx, testworld.Config{Log: cfg.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	s, err := w.Standard(ctx)
	if err != nil {
		return err
	}
	w.Tap.Look([]byte("celsius")) // stands in every message
	st := &stage{Scenario: s, cfg: cfg, began: time.Now()}
	if st.context, err = cfg.Login(w.Dir, w.RelayAddress, w.CAFile, w.Admin); err != nil {
		return err
	}
	if st.yours, err = s.Device(ctx, "yours"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var actors sync.WaitGroup
	defer actors.Wait()
	defer cancel()
	for i := range cfg.Sensors {
		actors.Go(func() { st.sensor(ctx, fmt.Sprintf("sensor-%02d", i+1)) })
	}
	actors.Go(func() { st.stray(ctx) })
	actors.Go(func() { st.officeDevice(ctx) })
	if cfg.Terminal {
		return screen(ctx, cfg, &model{st: st}, func() error { return lines(ctx, st) })
	}
	return lines(ctx, st)
}

// sensor sends a reading ten times a second, and connects again when it must.
func (st *stage) sensor(ctx context.Context, id string) {
	st.device(ctx, id, 100*time.Millisecond, simulate.Config{Resolver: st.Resolver(st.PlantDNS)}, func(took time.Duration) {
		st.acked.Add(1)
		st.latency.Store(int64(took))
	})
}

// officeDevice tries the office's own endpoint, which leads nowhere until somebody approves it.
func (st *stage) officeDevice(ctx context.Context) {
	st.device(ctx, "office-probe", time.Second, simulate.Config{Resolver: st.Resolver(st.OfficeDNS)}, func(time.Duration) { st.office.Add(1) })
}

func (st *stage) device(ctx context.Context, id string, every time.Duration, cfg simulate.Config, acked func(time.Duration)) {
	text, err := st.Device(ctx, id)
	if err != nil {
		return
	}
	roots, err := node.TrustFile(st.CAFile)
	if err != nil {
		return
	}
	cfg.ConnectionString, cfg.Roots = text, roots
	for n := 0; ctx.Err() == nil; {
		d, err := simulate.Dial(ctx, cfg)
		if err != nil {
			pause(ctx, time.Second)
			continue
		}
		st.online.Add(1)
		for ctx.Err() == nil {
			start := time.Now()
			n++
			if cfg.Address == "" {
				st.sent.Add(1)
			}
			if err := d.Send(ctx, []byte(bodyOf(id, n, "")), map[string]string{"id": fmt.Sprint(n)}); err != nil {
				break
			}
			acked(time.Since(start))
			pause(ctx, every)
		}
		d.Close()
		st.online.Add(-1)
	}
}

// stray knows the hub's own address and tries its closed public side now and then.
func (st *stage) stray(ctx context.Context) {
	text, err := st.Device(ctx, "stray")
	if err != nil {
		return
	}
	roots, err := node.TrustFile(st.CAFile)
	if err != nil {
		return
	}
	for ctx.Err() == nil {
		d, err := simulate.Dial(ctx, simulate.Config{ConnectionString: text, Roots: roots, Address: netip.AddrPortFrom(st.HubDirect, testworld.MQTTPort).String()})
		if err == nil {
			d.Close()
		}
		pause(ctx, 7*time.Second)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// lines is the screen of somebody who has none: a log, a line every two seconds.
func lines(ctx context.Context, st *stage) error {
	_, _ = fmt.Fprint(st.cfg.Out, st.paste())
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			v := st.look(ctx)
			_, _ = fmt.Fprintf(st.cfg.Out, "%s  %d devices connected, %.0f messages/s, %d durable, acknowledged in %v; refused %d; waiting for approval: %d\n",
				v.up, v.connected, v.rate, v.durable, v.latency, v.refusedCount, len(v.pending))
		}
	}
}

// paste is what a person copies to bring a device of their own.
func (st *stage) paste() string {
	return fmt.Sprintf("your own device:\n  DNS server         %s\n  trust              %s\n  connection string  %s\nthe command line:\n  export ISTHMUS_CONFIG=%s\n  %s get connections\n",
		st.PlantDNS, st.CAFile, st.yours, st.context, st.cfg.Program)
}

// view is one look at the world.
type view struct {
	up                     time.Duration
	connected              int
	online                 int64
	rate                   float64
	durable                int64
	latency                time.Duration
	tunnels, flows         int
	rtt                    time.Duration
	relayBytes, plaintext  int64
	office                 int64
	officeState            string
	pending                []waiting
	refused                []refusal
	refusedCount           int
	serverUp, relayUp, hub bool
	problem                string
}

type waiting struct{ endpoint, service, message string }

type refusal struct {
	at             time.Time
	count          int
	source, who, w string
}

func (st *stage) look(ctx context.Context) view {
	v := view{
		up: time.Since(st.began).Truncate(time.Second), online: st.online.Load(), latency: time.Duration(st.latency.Load()).Round(10 * time.Microsecond),
		relayBytes: st.Tap.Bytes(), plaintext: st.Tap.Seen(), office: st.office.Load(),
		serverUp: st.World.Server().Running(), relayUp: st.World.Relay().Running(), hub: st.HubProcess.Running(),
	}
	if h, err := st.Hub(); err == nil {
		s := h.Stats()
		v.connected, v.rate, v.durable = s.Connected, s.PerSecond, s.Messages
	}
	ps := st.Plant.Status()
	v.tunnels = len(ps.Transport.Tunnels)
	for _, t := range ps.Transport.Tunnels {
		v.flows += t.Streams
		v.rtt = max(v.rtt, t.RTT)
	}
	for _, r := range st.HubProcess.Server().Refusals() {
		v.refused = append(v.refused, refusal{r.Last, r.Count, r.Source, r.Who, r.Why})
		v.refusedCount += r.Count
	}
	ask, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conns, err := st.Client.Connections(ask, everyConnection())
	if err != nil {
		v.problem = fault.Message(err)
		return v
	}
	for _, c := range conns {
		if c.Endpoint == "it/it-cloud/hub" {
			v.officeState = string(c.Connection.State)
		}
		if c.Connection.State == "Pending" {
			v.pending = append(v.pending, waiting{c.Endpoint, c.Service, c.RequestMessage})
		}
	}
	return v
}
