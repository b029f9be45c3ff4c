package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// colour is the number of an SGR escape (ECMA-48 8.3.117).
type colour int

const (
	plain  colour = 0
	bold   colour = 1
	dim    colour = 2
	red    colour = 31
	green  colour = 32
	yellow colour = 33
)

// painter returns a function that puts colour around text, or leaves it alone when colours are unwanted.
func (w *world) painter() func(colour, string) string {
	if !w.colourful() {
		return func(_ colour, s string) string { return s }
	}
	return func(c colour, s string) string {
		if c == plain || s == "" {
			return s
		}
		return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, s)
	}
}

// cell is one field of a table.
type cell struct {
	text   string
	colour colour
}

func cells(texts ...string) []cell {
	out := make([]cell, len(texts))
	for i, t := range texts {
		out[i].text = t
	}
	return out
}

// table writes rows under upper-case heads, columns aligned by what a terminal shows. Text of others is made harmless: no escapes,
// no line breaks.
func (w *world) table(heads []string, rows [][]cell) {
	paint := w.painter()
	width := make([]int, len(heads))
	for i, h := range heads {
		width[i] = runewidth.StringWidth(h)
	}
	for _, r := range rows {
		for i := range r {
			r[i].text = harmless(r[i].text)
			if r[i].text == "" {
				r[i].text = "-"
			}
			width[i] = max(width[i], runewidth.StringWidth(r[i].text))
		}
	}
	line := func(r []cell, c colour) {
		var b strings.Builder
		for i, f := range r {
			col := f.colour
			if c != plain {
				col = c
			}
			b.WriteString(paint(col, f.text))
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-runewidth.StringWidth(f.text)+2))
			}
		}
		w.printf("%s\n", b.String())
	}
	if heads[0] != "" {
		line(cells(heads...), bold)
	}
	for _, r := range rows {
		line(r, plain)
	}
}

// pairs writes names and values under each other, as describe does.
func (w *world) pairs(rows ...[2]string) {
	most := 0
	for _, r := range rows {
		if r[1] != "" {
			most = max(most, runewidth.StringWidth(r[0]))
		}
	}
	for _, r := range rows {
		if r[1] != "" {
			w.printf("%s:%s%s\n", r[0], strings.Repeat(" ", most-runewidth.StringWidth(r[0])+2), harmless(r[1]))
		}
	}
}

// harmless replaces control characters, which could repaint the terminal.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || (r >= 0x7f && r < 0xa0):
			return '?'
		}
		return r
	}, s)
}

// age renders how long ago something was, in the two largest units: 45s, 12m, 3h20m, 5d, 2y.
func (w *world) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(w.clock.Now().Sub(t))
}

func span(d time.Duration) string {
	if d < 0 {
		return "now"
	}
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 10*time.Hour && d%time.Hour >= time.Minute:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	case d < 2*day:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d < 730*day:
		return fmt.Sprintf("%dd", int(d/day))
	}
	return fmt.Sprintf("%dy", int(d/(365*day)))
}

// ago is age with its word, for prose.
func (w *world) ago(t time.Time) string {
	switch a := w.age(t); a {
	case "":
		return "never"
	case "now":
		return "just now"
	default:
		return a + " ago"
	}
}

// at renders a moment with its age: "2026-11-22 03:14:15 UTC (12m ago)".
func (w *world) at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	stamp := t.UTC().Format("2006-01-02 15:04:05 UTC")
	if d := t.Sub(w.clock.Now()); d > 0 {
		return stamp + " (in " + span(d) + ")"
	}
	return stamp + " (" + w.ago(t) + ")"
}
