package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// world is what the outside gives to a command.
type world struct {
	in       io.Reader
	out, err io.Writer // safe for concurrent use
	getenv   func(string) string
	environ  func() []string // the whole of it, for commands that take settings of others' making; nil for none
	clock    clock.Clock
	terminal bool // out is a terminal
	typing   bool // in is a terminal
}

func systemWorld() *world {
	w := &world{
		in: os.Stdin, out: &lockedWriter{w: os.Stdout}, err: &lockedWriter{w: os.Stderr}, getenv: os.Getenv, environ: os.Environ, clock: clock.System{},
		terminal: term.IsTerminal(int(os.Stdout.Fd())), typing: term.IsTerminal(int(os.Stdin.Fd())),
	}
	return w
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// printf writes to standard output. A failure (a closed pipe) ends the process by its own signal or is nobody's concern.
func (w *world) printf(format string, args ...any) { _, _ = fmt.Fprintf(w.out, format, args...) }

// note writes a line beside the output.
func (w *world) note(format string, args ...any) {
	_, _ = fmt.Fprintf(w.err, "note: %s\n", harmlessLines(fmt.Sprintf(format, args...)))
}

// patience is how long something may take before a note says what is being waited for.
const patience = time.Second

// waiting says what is being waited for once it took longer than a second. Call the returned function when it is over.
func (w *world) waiting(what string) func() {
	t := time.AfterFunc(patience, func() { _, _ = fmt.Fprintf(w.err, "waiting for %s …\n", what) })
	return func() { t.Stop() }
}

// configPath is where contexts are kept: ISTHMUS_CONFIG, or contexts.yaml in the user's configuration directory.
func (w *world) configPath() (string, error) {
	if p := w.getenv("ISTHMUS_CONFIG"); p != "" {
		return p, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fault.Wrap("isthmus.configPath", fault.Invalid, err, "this user has no configuration directory")
	}
	return filepath.Join(dir, "isthmus", "contexts.yaml"), nil
}

// colourful tells whether escapes may be written (https://no-color.org).
func (w *world) colourful() bool {
	return w.terminal && w.getenv("NO_COLOR") == "" && w.getenv("TERM") != "dumb"
}
