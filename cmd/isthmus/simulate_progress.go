package main

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/simulate/bulk"
)

// liveLine is a last line that changes, on a terminal, below lines that stay. It is the writer for those.
type liveLine struct {
	out  io.Writer
	live bool

	mu    sync.Mutex // guards the fields below
	shown bool
	last  time.Time
}

const eraseLine = "\r\x1b[K" // ECMA-48 8.3.41

// Write writes lines that stay.
func (l *liveLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	return l.out.Write(p)
}

func (l *liveLine) erase() {
	if l.shown {
		_, _ = io.WriteString(l.out, eraseLine)
		l.shown = false
	}
}

// show changes the line.
func (l *liveLine) show(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live {
		_, _ = io.WriteString(l.out, eraseLine+text)
		l.shown = true
	}
}

// end takes the line away.
func (l *liveLine) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}

// seldom tells whether it is time for another line in a log.
func (l *liveLine) seldom(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.last) < logEvery {
		return false
	}
	l.last = now
	return true
}

// follow tells how a fleet gets on until it is called off.
func (w *world) follow(f *simulate.Fleet, line *liveLine, log *slog.Logger) (end func()) {
	every := logEvery
	if line.live {
		every = terminalEvery
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		before := f.Counts()
		for {
			fired, cancel := w.clock.After(every)
			select {
			case <-fired:
			case <-stop:
				cancel()
				return
			}
			s := f.Counts()
			rate := float64(s.Acknowledged-before.Acknowledged) / max(s.Seconds-before.Seconds, 1e-3)
			before = s
			if line.live {
				line.show(fmt.Sprintf("%s  %d of %d online, %d finished, %d failed  %d messages acknowledged, %.0f a second", time.Duration(s.Seconds*float64(time.Second)).Round(time.Second),
					s.Online, s.Devices, s.Finished, s.Refused+s.GaveUp, s.Acknowledged, rate))
				continue
			}
			log.Info("simulate: progress", "online", s.Online, "devices", s.Devices, "finished", s.Finished, "refused", s.Refused, "gaveUp", s.GaveUp,
				"sent", s.Sent, "acknowledged", s.Acknowledged, "perSecond", int64(rate))
		}
	}()
	return func() {
		close(stop)
		<-done
		line.end()
	}
}

// counting tells how a change of many devices gets on.
func (w *world) counting(line *liveLine, what string, all int) func(bulk.Counts) {
	return func(n bulk.Counts) {
		switch {
		case line.live:
			line.show(fmt.Sprintf("%s: %d of %d", what, n.All(), all))
		case line.seldom(w.clock.Now()):
			_, _ = fmt.Fprintf(line, "%s: %d of %d\n", what, n.All(), all)
		}
	}
}
