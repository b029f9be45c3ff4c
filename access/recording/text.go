package recording

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what Text holds.
const (
	maxColumns   = 4096 // a longer line is broken
	maxTerminals = 1024 // what further ones showed is left out
)

// Text writes what an asciicast's terminals showed as lines of plain text, for searching: without escape sequences and control characters.
// Corrections at a prompt are carried out; a line that is drawn over stays, as does each screen of programs that draw over all of it. Lines of
// further terminals begin with their number and a colon, markers with "# ". What was typed is not in it but for its echo.
func Text(out io.Writer, r io.Reader) error {
	events, err := NewEvents(r)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	pages := map[int]*page{}
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, w.Flush())
		}
		switch {
		case e.Kind == Marker:
			_, _ = w.WriteString("# " + printable(e.Data, maxMark) + "\n") // a bufio.Writer keeps its error for Flush
		case e.Kind == Shown:
			p := pages[e.Terminal]
			if p == nil && len(pages) < maxTerminals {
				p = &page{out: w}
				if e.Terminal > 1 {
					p.prefix = strconv.Itoa(e.Terminal) + ": "
				}
				pages[e.Terminal] = p
			}
			if p != nil {
				p.escapes.feed([]byte(e.Data), p)
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(pages)) {
		pages[n].escapes.end(pages[n])
		pages[n].newline()
	}
	return w.Flush()
}

// page makes lines of what one terminal is told.
type page struct {
	out      *bufio.Writer
	prefix   string
	escapes  escapes
	line     []rune
	column   int
	returned bool // the cursor went to the beginning of a line that has text
}

func (p *page) character(r rune) {
	if p.returned {
		p.newline()
	}
	if p.column == maxColumns {
		p.newline()
	}
	for len(p.line) <= p.column {
		p.line = append(p.line, ' ')
	}
	p.line[p.column] = r
	p.column++
}

func (p *page) newline() {
	if text := strings.TrimRight(string(p.line), " "); text != "" {
		_, _ = p.out.WriteString(p.prefix + printable(text, 4*maxColumns) + "\n") // as above
	}
	p.line, p.column, p.returned = p.line[:0], 0, false
}

func (p *page) c0(c byte) {
	switch c {
	case '\b':
		p.move(-1)
	case '\t':
		p.move(8 - p.column%8)
	case '\n', '\v', '\f':
		p.newline()
	case '\r':
		p.column, p.returned = 0, len(p.line) > 0
	}
}

// move moves the cursor within its line.
func (p *page) move(n int) { p.column = max(0, min(p.column+n, maxColumns-1)) }

func (p *page) sequence(c control) {
	if !c.csi {
		if c.intermediate == 0 && (c.final == 'D' || c.final == 'E' || c.final == 'M') {
			p.newline()
		}
		return
	}
	if c.private != 0 || c.intermediate != 0 || !modest(c.parameters) {
		return
	}
	first, _, _ := strings.Cut(string(c.parameters), ";")
	n, err := strconv.Atoi(first)
	given := err == nil
	times := max(n, 1)
	end := min(p.column, len(p.line))
	switch c.final {
	case 'C', 'a':
		p.move(times)
	case 'D':
		p.move(-times)
	case 'K':
		if p.returned {
			p.newline()
			return
		}
		if !given || n == 0 {
			p.line = p.line[:end]
		}
	case 'P':
		p.line = slices.Delete(p.line, end, min(end+times, len(p.line)))
	case '@':
		if room := maxColumns - len(p.line); room > 0 {
			p.line = slices.Insert(p.line, end, slices.Repeat([]rune{' '}, min(times, room))...)
		}
	case 'A', 'B', 'E', 'F', 'H', 'f', 'd', 'J', 'G', '`':
		if c.final == 'G' || c.final == '`' {
			p.column, p.returned = min(times, maxColumns)-1, false
			return
		}
		p.newline()
	}
}
