package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// The terminal's own words (ECMA-48; the alternate screen is xterm's, and every terminal's since).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// picture is what a screen shows.
type picture interface {
	// Look draws the world as it is now, for a terminal so wide.
	Look(ctx context.Context, width int) string
	// Press is told of keys that do not quit.
	Press(key byte)
}

// screen draws a picture until the person quits; instead is for whoever has no terminal. A library for it asked the terminal for its colours
// before any command of this program ran, and waited seconds where none answers; redrawing everything twice a second needs no library.
func screen(ctx context.Context, cfg ShowConfig, p picture, instead func() error) error {
	in, ok := cfg.In.(*os.File)
	if !ok {
		return instead()
	}
	was, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return instead()
	}
	defer func() { _ = term.Restore(int(in.Fd()), was) }()
	_, _ = io.WriteString(cfg.Out, enterScreen)
	defer func() { _, _ = io.WriteString(cfg.Out, leaveScreen) }()
	quit := make(chan struct{})
	go func() { // ends with the process where nobody presses a key: a terminal cannot be read for a while only
		defer close(quit)
		waitForQuit(in, p.Press)
	}()
	width := 100
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		rows := 0
		if w, h, err := term.GetSize(int(in.Fd())); err == nil && w > 0 {
			width, rows = w, h
		}
		draw(cfg.Out, p.Look(ctx, width), rows)
		select {
		case <-ctx.Done():
			return nil
		case <-quit:
			return nil
		case <-tick.C:
		}
	}
}

// waitForQuit reads keys until q, Escape or Ctrl-C, which a raw terminal gives as bytes, or the end of input. An escape sequence, such as an
// arrow's, comes in one piece and is none of them. Other keys are given to press.
func waitForQuit(in io.Reader, press func(byte)) {
	buf := make([]byte, 64)
	for {
		n, err := in.Read(buf)
		keys := buf[:n]
		if err != nil || bytes.ContainsAny(keys, "qQ\x03") || n == 1 && keys[0] == 0x1b {
			return
		}
		if n == 1 {
			press(keys[0])
		}
	}
}

// draw replaces what is on the screen line by line, so that nothing flickers. What does not fit into rows is left out: it would scroll the
// rest away. 0 is any number.
func draw(out io.Writer, text string, rows int) {
	var b strings.Builder
	b.WriteString(goHome)
	n := 0
	for line := range strings.Lines(text) {
		if n++; rows > 0 && n >= rows {
			break
		}
		fmt.Fprintf(&b, "%s%s\r\n", strings.TrimSuffix(line, "\n"), clearLine)
	}
	b.WriteString(clearBelow)
	_, _ = io.WriteString(out, b.String())
}
