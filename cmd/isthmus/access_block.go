package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/access/dialer"
)

// liveBlock is a table that changes, on a terminal, below lines that stay. Elsewhere there are only the lines.
type liveBlock struct {
	w     *world
	of    *dialer.Dialer
	live  bool
	stop  chan struct{}
	ended chan struct{}

	mu    sync.Mutex // guards the fields below
	lines int        // of the table as it stands
}

const (
	blockEvery = time.Second
	blockRows  = 12 // of the table; the rest is counted
	blockWidth = 79 // a line that wraps could not be erased
)

// beginBlock shows the connections that a dialer has open until end.
func (w *world) beginBlock(of *dialer.Dialer) *liveBlock {
	b := &liveBlock{w: w, of: of, live: w.colourful(), stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(b.ended)
		for b.live {
			b.draw()
			fired, cancel := w.clock.After(blockEvery)
			select {
			case <-fired:
			case <-b.stop:
				cancel()
				return
			}
		}
	}()
	return b
}

// say writes a line that stays, on standard error.
func (b *liveBlock) say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
	b.w.note(format, args...)
}

// end takes the table away.
func (b *liveBlock) end() {
	close(b.stop)
	<-b.ended
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
}

// erase goes back to where the table began and clears from there (ECMA-48 8.3.22 and 8.3.39).
func (b *liveBlock) erase() {
	if b.lines > 0 {
		_, _ = fmt.Fprintf(b.w.out, "\x1b[%dA\x1b[J", b.lines)
		b.lines = 0
	}
}

func (b *liveBlock) draw() {
	lines := connectionLines(b.of.Sessions(), b.w.clock.Now())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
	_, _ = fmt.Fprint(b.w.out, strings.Join(lines, ""))
	b.lines = len(lines)
}

// connectionLines is the table, each line with its end.
func connectionLines(list []dialer.Session, now time.Time) []string {
	var out []string
	add := func(format string, args ...any) {
		line := []rune(harmless(fmt.Sprintf(format, args...)))
		out = append(out, string(line[:min(len(line), blockWidth)])+"\n")
	}
	switch len(list) {
	case 0:
		add("no connections")
	case 1:
		add("1 connection")
	default:
		add("%d connections", len(list))
	}
	for i, s := range list {
		if i == blockRows {
			add("and %d more", len(list)-i)
			break
		}
		from := "here"
		if s.Client.IsValid() {
			from = s.Client.String()
		}
		add("%-6s %-21s %9s out %9s in  %s", span(now.Sub(s.Since)), from, size(s.Sent), size(s.Received), s.Target)
	}
	return out
}
