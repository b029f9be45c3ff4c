package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/testworld"
)

// crossStage is what the screen of the cross-tenant design looks at.
type crossStage struct {
	*testworld.CrossTenant
	cfg     ShowConfig
	began   time.Time
	context string // file of the login

	sent, acked, online atomic.Int64
	said                atomic.Pointer[string] // what became of the last key
	keys                chan byte
	ticks               int
}

// ShowCrossTenant runs the cross-tenant design until ctx ends or the person quits. In a terminal the person decides with keys what crosses;
// elsewhere both sides say yes after three seconds.
func ShowCrossTenant(ctx context.Context, cfg ShowConfig) (err error) {
	if cfg.Sensors <= 0 {
		cfg.Sensors = 10
	}
	_, _ = fmt.Fprintln(cfg.Out, "building a world on loopback: a plant and an office, a hub, an event hub, a blob store, two bridges, a relay …")
	w, err := testworld.Start(ctx, testworld.Config{Log: cfg.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	s, err := w.CrossTenant(ctx)
	if err != nil {
		return err
	}
	st := &crossStage{CrossTenant: s, cfg: cfg, began: time.Now(), keys: make(chan byte, 16)}
	if st.context, err = cfg.Login(w.Dir, w.RelayAddress, w.CAFile, w.Admin); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var actors sync.WaitGroup
	defer actors.Wait()
	defer cancel()
	for i := range cfg.Sensors {
		actors.Go(func() { st.press(ctx, fmt.Sprintf("press-%02d", i+1)) })
	}
	actors.Go(func() { st.decisions(ctx) })
	if cfg.Terminal {
		return screen(ctx, cfg, st, func() error { return st.lines(ctx) })
	}
	return st.lines(ctx)
}

// press sends a reading ten times a second, with what may cross and what may not.
func (st *crossStage) press(ctx context.Context, id string) {
	text, err := st.Device(ctx, id)
	if err != nil {
		return
	}
	roots, err := node.TrustFile(st.CAFile)
	if err != nil {
		return
	}
	for n := 0; ctx.Err() == nil; {
		d, err := simulate.Dial(ctx, simulate.Config{ConnectionString: text, Roots: roots, Resolver: st.Resolver(st.PlantDNS)})
		if err != nil {
			pause(ctx, time.Second)
			continue
		}
		st.online.Add(1)
		for ctx.Err() == nil {
			n++
			st.sent.Add(1)
			if err := d.Send(ctx, []byte(pressReading(id, n, time.Now())), nil); err != nil {
				break
			}
			st.acked.Add(1)
			pause(ctx, 100*time.Millisecond)
		}
		d.Close()
		st.online.Add(-1)
	}
}

// pressReading is a body. Every hundredth breaks the contract.
func pressReading(id string, n int, at time.Time) string {
	celsius := 20 + float64(n*7919%1000)/100
	if n%100 == 0 {
		celsius = 9000
	}
	return fmt.Sprintf(`{"sensor":%q,"n":%d,"celsius":%.2f,"at":%q,"operator":"M. Curie"}`, id, n, celsius, at.UTC().Format(time.RFC3339Nano))
}

// decisions does what keys say.
func (st *crossStage) decisions(ctx context.Context) {
	for {
		var key byte
		select {
		case <-ctx.Done():
			return
		case key = <-st.keys:
		}
		var done string
		var err error
		switch key {
		case 'c', 'C':
			done, err = "the office has accepted the contract", st.Accept(ctx)
		case 'a', 'A':
			done, err = "the office has approved the endpoint", st.Approve(ctx)
		case 'r', 'R':
			done, err = "the office has taken its approval back", st.Reject(ctx)
		default:
			continue
		}
		if err != nil {
			done = fault.Message(err)
		}
		st.said.Store(&done)
	}
}

// Press implements picture.
func (st *crossStage) Press(key byte) {
	select {
	case st.keys <- key:
	default: // a person who holds a key down
	}
}

// lines is the screen of somebody who has none.
func (st *crossStage) lines(ctx context.Context) error {
	_, _ = fmt.Fprintf(st.cfg.Out, "the command line:\n  export ISTHMUS_CONFIG=%s\n  %s bridge status %s\n", st.context, st.cfg.Program, testworld.BridgePath)
	yes := time.After(3 * time.Second)
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-yes:
			st.Press('c')
			st.Press('a')
		case <-t.C:
			a, b := statusOf(st.OTBridge, testworld.BridgePath), statusOf(st.ITBridge, testworld.AggregatesPath)
			_, _ = fmt.Fprintf(st.cfg.Out, "%s  %d sent by devices; crossed %d, waiting %d, dead letters %d; rows of ten seconds %d; %s%s\n",
				time.Since(st.began).Truncate(time.Second), st.acked.Load(), a.Sent, a.Lag, a.Dead, b.ClosedWindows, a.State, because(a))
		}
	}
}

func because(s bridge.Status) string {
	if s.Why == "" {
		return ""
	}
	return " at " + s.Step + ": " + s.Why
}

// statusOf is how a process says that a bridge is; Waiting while it carries none of the name.
func statusOf(p *testworld.Bridge, name string) bridge.Status {
	for _, s := range p.Status() {
		if s.Name == name {
			return s
		}
	}
	return bridge.Status{Name: name, BridgeStatus: resource.BridgeStatus{State: resource.BridgeWaiting, Why: "its process has no plan yet"}}
}

// Look implements picture.
func (st *crossStage) Look(_ context.Context, width int) string {
	st.ticks++
	a, b := statusOf(st.OTBridge, testworld.BridgePath), statusOf(st.ITBridge, testworld.AggregatesPath)
	var out strings.Builder
	title := bold.Render("ISTHMUS") + "  from the plant's tenant to the office's"
	clock := dim.Render(fmt.Sprintf("%s   c accept  a approve  r take back  q quit", time.Since(st.began).Truncate(time.Second)))
	out.WriteString(title + strings.Repeat(" ", max(1, min(width, 113)-lipgloss.Width(title)-lipgloss.Width(clock))) + clock + "\n\n")
	box := func(lines ...string) string { return frame.Render(strings.Join(lines, "\n")) }
	row := func(boxes ...string) string { return lipgloss.JoinHorizontal(lipgloss.Top, boxes...) + "\n" }
	arrow := func(s bridge.Status, label string) string {
		style, line := good, "━━━━━━━▶"
		switch {
		case s.State != resource.BridgeRunning:
			style, line = bad, "━━ ✕ ━━━"
		case st.ticks%2 == 1:
			line = "━━▶━━━━▶"
		}
		return lipgloss.NewStyle().Padding(2, 1, 0, 1).Align(lipgloss.Center).Render(style.Render(line) + "\n" + dim.Render(label))
	}
	state := func(s bridge.Status) string {
		style := good
		if s.State != resource.BridgeRunning {
			style = warn
		}
		return style.Render(string(s.State))
	}
	stored := ""
	if h, err := st.Hub(); err == nil {
		stored = fmt.Sprintf("%d events stored", h.Stats().Messages)
	}
	out.WriteString(row(
		box(bold.Render("hub contoso")+dim.Render("  tenant ot"), fmt.Sprintf("%d of %d presses online", st.online.Load(), st.cfg.Sensors), stored, "public side "+good.Render("closed")),
		arrow(a, "filter, mapping"),
		box(bold.Render("bridge telemetry")+dim.Render("  ot-cloud"), state(a)+fmt.Sprintf("  %.0f events/s", a.EventsPerSec), fmt.Sprintf("waiting %d, dead letters %d", a.Lag, a.Dead),
			fmt.Sprintf("contract ot/telemetry v%d", a.Contract)),
		arrow(a, "TLS 1.3, relay"),
		box(bold.Render("event hub telemetry")+dim.Render("  tenant it"), fmt.Sprintf("%d events have crossed", a.Sent), fmt.Sprintf("%d of them marked", a.Repeated), "public side "+good.Render("closed")),
	))
	out.WriteString(row(
		strings.Repeat(" ", 30), strings.Repeat(" ", 10),
		box(bold.Render("blob aggregates")+dim.Render("  it-cloud"), fmt.Sprintf("%d rows of ten seconds", b.ClosedWindows), fmt.Sprintf("%d windows open", b.OpenWindows), "public side "+good.Render("closed")),
		arrow(b, "no key, its identity"),
		box(bold.Render("bridge aggregates")+dim.Render("  it-cloud"), state(b)+fmt.Sprintf("  %.0f events/s", b.EventsPerSec), fmt.Sprintf("waiting %d", b.Lag), "count, mean, least, most, p95"),
	))
	for _, s := range []bridge.Status{a, b} {
		if s.Why != "" {
			out.WriteString(fmt.Sprintf("%s %s at %s: %s\n", bold.Render(s.Name), state(s), s.Step, s.Why))
		}
		for _, e := range s.RecentErrors {
			out.WriteString(dim.Render(fmt.Sprintf("  %s  %s ×%d  %s", e.At.Format(time.TimeOnly), e.Step, e.Count, e.Words)) + "\n")
		}
	}
	if said := st.said.Load(); said != nil {
		out.WriteString("\n" + bold.Render(*said) + "\n")
	}
	out.WriteString("\nThe same from another terminal:\n")
	for _, l := range []string{"contract show " + testworld.ContractPath, "bridge status " + testworld.BridgePath, "endpoint approve " + testworld.LakeEndpoint + " --reason agreed"} {
		out.WriteString(fmt.Sprintf("  ISTHMUS_CONFIG=%s %s %s\n", st.context, st.cfg.Program, l))
	}
	return ansi.Hardwrap(out.String(), width, true)
}
