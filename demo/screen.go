package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/isthmus-io/isthmus/client"
)

func everyConnection() client.Filter { return client.Filter{} }

type model struct {
	st    *stage
	width int
	now   view
	rates []float64
	ticks int
}

const lookEvery = 500 * time.Millisecond

// take keeps a look, and every second one's rate.
func (m *model) take(v view) {
	m.now = v
	if m.ticks++; m.ticks%2 == 0 {
		m.rates = append(m.rates, v.rate)
		m.rates = m.rates[max(0, len(m.rates)-30):]
	}
}

var ( //nolint:gochecknoglobals // constants in all but name: lipgloss styles are values
	bold  = lipgloss.NewStyle().Bold(true)
	dim   = lipgloss.NewStyle().Faint(true)
	good  = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	warn  = lipgloss.NewStyle().Foreground(lipgloss.Color("3"))
	bad   = lipgloss.NewStyle().Foreground(lipgloss.Color("1"))
	frame = lipgloss.NewStyle().Border(lipgloss.RoundedBorder()).Padding(0, 1).Width(28)
)

// Look implements picture.
func (m *model) Look(ctx context.Context, width int) string {
	m.width = width
	m.take(m.st.look(ctx))
	return m.View()
}

// Press implements picture.
func (m *model) Press(byte) {}

// View draws everything from the last look; it reads nothing else.
func (m *model) View() string {
	v, st := m.now, m.st
	var b strings.Builder
	title := bold.Render("ISTHMUS") + "  a private path, all of it on this machine"
	clock := dim.Render(fmt.Sprintf("%s   q quits", v.up))
	b.WriteString(title + strings.Repeat(" ", max(1, min(m.width, 113)-lipgloss.Width(title)-lipgloss.Width(clock))) + clock + "\n\n")

	arrow := func(label string, up bool) string {
		line := "━━━━━━━▶"
		if m.ticks%2 == 1 {
			line = "━━▶━━━━▶"
		}
		style := good
		if !up {
			style, line = bad, "━━ ✕ ━━━"
		}
		return lipgloss.NewStyle().Padding(2, 1, 0, 1).Align(lipgloss.Center).Render(style.Render(line) + "\n" + dim.Render(label))
	}
	plant := frame.Render(strings.Join([]string{
		bold.Render("plant-7") + dim.Render("  tenant ot"),
		fmt.Sprintf("%d of %d sensors online", min(v.online, int64(st.cfg.Sensors)), st.cfg.Sensors),
		"DNS      " + st.PlantDNS.String(),
		"endpoint " + st.HubEndpoint.String(),
		fmt.Sprintf("%d tunnels, %d flows", v.tunnels, v.flows),
	}, "\n"))
	secret := good.Render("only ciphertext seen")
	if v.plaintext > 0 {
		secret = bad.Render(fmt.Sprintf("plaintext seen %d times!", v.plaintext))
	}
	relay := frame.Render(strings.Join([]string{
		bold.Render("relay") + dim.Render("  the internet"),
		st.RelayAddress,
		fmt.Sprintf("%s passed", size(v.relayBytes)),
		secret,
		dim.Render("holds no key"),
	}, "\n"))
	hub := frame.Render(strings.Join([]string{
		bold.Render("hub contoso") + dim.Render("  ot-cloud"),
		fmt.Sprintf("%d devices connected", v.connected),
		fmt.Sprintf("%d messages durable", v.durable),
		fmt.Sprintf("acknowledged in %v", v.latency),
		"public side " + good.Render("closed"),
	}, "\n"))
	b.WriteString(lipgloss.JoinHorizontal(lipgloss.Top, plant, arrow("TLS 1.3", v.relayUp), relay, arrow("TLS 1.3", v.hub), hub) + "\n")
	b.WriteString(fmt.Sprintf("%s  %s %s messages/s\n\n", bold.Render("telemetry"), good.Render(spark(m.rates)), bold.Render(fmt.Sprintf("%.0f", v.rate))))

	b.WriteString(bold.Render("Waiting for a decision") + "\n")
	for _, p := range v.pending {
		b.WriteString(fmt.Sprintf("  %s  %s ▶ %s  %s\n", warn.Render("Pending"), p.endpoint, p.service, dim.Render("“"+p.message+"”")))
		b.WriteString("  in another terminal: " + bold.Render(fmt.Sprintf("ISTHMUS_CONFIG=%s %s endpoint approve %s --reason \"agreed\"", st.context, st.cfg.Program, p.endpoint)) + "\n")
	}
	if len(v.pending) == 0 {
		state := good
		if v.officeState != "Approved" {
			state = bad
		}
		b.WriteString(fmt.Sprintf("  none. it/it-cloud/hub is %s; the office's device sent %d messages\n", state.Render(v.officeState), v.office))
	}
	b.WriteString("\n" + bold.Render("Refused, and why") + "\n")
	for i := len(v.refused) - 1; i >= max(0, len(v.refused)-3); i-- {
		r := v.refused[i]
		b.WriteString(fmt.Sprintf("  %s  %s %s ×%d  %s\n", r.at.Format(time.TimeOnly), r.source, r.who, r.count, bad.Render(r.w)))
	}
	if len(v.refused) == 0 {
		b.WriteString(dim.Render("  nobody yet") + "\n")
	}
	b.WriteString("\n" + bold.Render("Bring a device of your own") + "\n")
	for _, l := range [][2]string{{"DNS server", st.PlantDNS.String()}, {"trust this CA", st.CAFile}, {"connection string", st.yours}} {
		b.WriteString(fmt.Sprintf("  %-18s %s\n", l[0], l[1]))
	}
	if v.problem != "" {
		b.WriteString("\n" + bad.Render(v.problem) + "\n")
	}
	return ansi.Hardwrap(b.String(), m.width, true) // a line the terminal wraps itself would shift what is below
}

// spark draws numbers as a row of bars, relative to the largest.
func spark(v []float64) string {
	const bars = "▁▂▃▄▅▆▇█"
	steps := []rune(bars)
	top := 1.0
	for _, x := range v {
		top = max(top, x)
	}
	var b strings.Builder
	for _, x := range v {
		b.WriteRune(steps[min(len(steps)-1, int(x/top*float64(len(steps)-1)+0.5))])
	}
	return b.String()
}

func size(n int64) string {
	for _, u := range []struct {
		name string
		n    int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.n {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.n), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
