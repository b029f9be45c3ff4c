package settings

import (
	"strconv"
	"strings"
	"time"
)

// longestInterval is 2^31-1 milliseconds, as the telemetry simulator has it.
const longestInterval = 1<<31 - 1

// intervals reads pauses: one text of numbers for all devices, a list for all, or a group by device with a number, a text or a list each.
func (r *reader) intervals() {
	n := r.get("Intervals")
	in := Intervals{All: []time.Duration{time.Second}}
	defer func() { r.out.Intervals = in }()
	if len(n.children) == 0 {
		if strings.TrimSpace(n.text) != "" {
			in.All = r.pauses("Intervals", n)
		}
		return
	}
	if isList(n) {
		in.All = r.pauses("Intervals", n)
		return
	}
	if n.set && strings.TrimSpace(n.text) != "" {
		r.note("Intervals in %s has no effect beside those by device; other devices pause 1000 ms", n.from)
	}
	in.Own = make(map[string][]time.Duration, len(n.children))
	for _, c := range n.sorted() {
		in.Own[c.key] = r.pauses("Intervals."+c.key, c)
	}
	known := map[string]bool{}
	for _, id := range r.out.Devices {
		known[id] = true
	}
	others := 0
	for id := range in.Own {
		if !known[id] {
			others++
		}
	}
	if others > 0 && len(known) > 0 {
		r.note("Intervals name %d devices that are not simulated", others)
	}
}

// isList tells whether a node was an array.
func isList(n *node) bool {
	for i, c := range n.sorted() {
		if c.key != strconv.Itoa(i) || !c.set {
			return false
		}
	}
	return len(n.children) > 0
}

func (r *reader) pauses(name string, n *node) []time.Duration {
	texts := strings.FieldsFunc(n.text, func(c rune) bool { return c == ',' || c == ';' })
	if len(n.children) > 0 {
		texts = nil
		for _, c := range n.sorted() {
			texts = append(texts, c.text)
		}
	}
	var out []time.Duration
	for _, t := range texts {
		ms, err := strconv.Atoi(strings.TrimSpace(t))
		if err != nil || ms < 1 || ms > longestInterval {
			r.refuse(name, n.origin(), "%.40q is not a number of milliseconds above 0", strings.TrimSpace(t))
			break
		}
		out = append(out, time.Duration(ms)*time.Millisecond)
	}
	if len(out) == 0 {
		if len(texts) == 0 {
			r.refuse(name, n.origin(), "it holds no number")
		}
		out = []time.Duration{time.Second}
	}
	return out
}
