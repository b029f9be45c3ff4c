package recording

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// FlushEvery is how long an event waits at most before it is on its way to the disk, while Run runs.
const FlushEvery = 2 * time.Second

const (
	defaultMost = 256 << 20
	// afterFull is how much room markers and sizes have when the recording is full, and typedAfterFull what is typed: people who made it full with
	// what they had shown are still seen at work.
	afterFull      = 64 << 10
	typedAfterFull = 4 << 20
	maxMark        = 1000 // bytes of a marker's text
)

// Header is the first line of a recording. Width and Height are in characters.
type Header struct {
	Width     int
	Height    int
	Timestamp time.Time // when it began, in whole seconds
	Title     string    // such as "alice@press-4"; control characters are left out
	Term      string    // the terminal's TERM
}

// Option changes how a Writer works.
type Option func(*Writer)

// WithMaxBytes bounds the recording's text; 256 MiB when not given or not positive.
func WithMaxBytes(n int64) Option {
	return func(w *Writer) {
		if n > 0 {
			w.most = n
		}
	}
}

// Writer writes one recording.
type Writer struct {
	clk  clock.Clock
	most int64

	mu       sync.Mutex // guards the fields below
	file     io.WriteCloser
	segments segments
	header   Header
	begun    bool // the header is in text
	start    time.Time
	last     time.Duration
	text     bytes.Buffer // not yet written; whole lines
	size     int64        // of all text
	full     bool
	room     [2]int64               // bytes left for what is typed, and for what is neither typed nor shown, when full
	lost     int64                  // bytes shown that are missing
	terms    map[*Terminal]struct{} // open
	numbered int                    // terminals there ever were
	one      *Terminal              // that of Output, Input and Resize
	closed   bool
	err      error
}

// NewWriter begins a recording on w, for the public keys given, and writes the first bytes, so that a full disk is noticed before anything
// happens. Close closes w. Bad keys are Invalid, and w is not touched then; a failing w is Unavailable, and w is closed.
func NewWriter(w io.WriteCloser, public []string, h Header, clk clock.Clock, opts ...Option) (*Writer, error) {
	const op = "recording.NewWriter"
	to, err := recipients(public)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	out := &Writer{clk: clk, most: defaultMost, file: w, segments: segments{w: w, to: to}, header: h, start: clk.Now(), terms: map[*Terminal]struct{}{}}
	if _, err := rand.Read(out.segments.id[:]); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	for _, o := range opts {
		o(out)
	}
	if _, err := w.Write([]byte(magic)); err != nil {
		_ = w.Close() // what matters is the error before
		return nil, failed(op, err)
	}
	return out, nil
}

func failed(op string, err error) error {
	return fault.New(op, fault.Unavailable, "the recording could not be written").Because(err)
}

// Run writes what was recorded to the disk every FlushEvery until ctx ends, the recording is closed or fails. It returns that error,
// which the other methods return as well.
func (w *Writer) Run(ctx context.Context) error {
	for {
		fired, stop := w.clk.After(FlushEvery)
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-fired:
		}
		if err := w.Flush(); err != nil {
			return err
		}
		w.mu.Lock()
		closed := w.closed
		w.mu.Unlock()
		if closed {
			return nil
		}
	}
}

// Flush writes what was recorded until now.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text.Len() > 0 && !w.closed {
		w.flush(false)
	}
	return w.err
}

// flush is called with mu held.
func (w *Writer) flush(last bool) {
	if w.err != nil {
		return
	}
	if err := w.segments.write(w.text.Bytes(), last); err != nil {
		w.err = failed("recording.Writer", err)
	}
	w.text.Reset()
}

// Mark writes a marker: a line about what happened beside the terminals. Its text is cut at 1000 bytes, and control characters are left out.
func (w *Writer) Mark(text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.event("m", printable(text, maxMark))
	return w.err
}

// Close writes the end and closes the file. Further calls return what the first did.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.err
	}
	for t := range w.terms {
		t.finish()
	}
	if w.full && w.err == nil {
		w.add(`"m"`, fmt.Sprintf("not recorded: %d bytes shown", w.lost))
	}
	w.begin()
	w.flush(true)
	w.closed = true
	if err := w.file.Close(); err != nil && w.err == nil {
		w.err = failed("recording.Writer.Close", err)
	}
	return w.err
}

// begin writes the header, once. mu is held.
func (w *Writer) begin() {
	if w.begun {
		return
	}
	w.begun = true
	line := struct {
		Version   int               `json:"version"`
		Width     int               `json:"width"`
		Height    int               `json:"height"`
		Timestamp int64             `json:"timestamp,omitempty"`
		Title     string            `json:"title,omitempty"`
		Env       map[string]string `json:"env,omitempty"`
	}{Version: 2, Width: dimension(w.header.Width, 80), Height: dimension(w.header.Height, 24), Title: printable(w.header.Title, maxMark)}
	if !w.header.Timestamp.IsZero() {
		line.Timestamp = w.header.Timestamp.Unix()
	}
	if t := printable(w.header.Term, 100); t != "" {
		line.Env = map[string]string{"TERM": t}
	}
	w.encode(line)
}

// event writes one event while there is room. mu is held.
func (w *Writer) event(code, data string) {
	if w.closed && w.err == nil {
		w.err = fault.New("recording.Writer", fault.Conflict, "the recording is closed")
	}
	if w.err != nil {
		return
	}
	// The text of an event is not shorter than its data, and six times as long at most.
	shown, typed := code[0] == 'o', code[0] == 'i'
	if !w.full && w.size+int64(len(data)) > w.most {
		w.full, w.room = true, [2]int64{typedAfterFull, afterFull}
		w.add(`"m"`, "the recording is full: what is shown from here on is missing")
	}
	if w.full && shown {
		w.lost += int64(len(data))
		return
	}
	before := w.size
	room := &w.room[1]
	if typed {
		room = &w.room[0]
	}
	switch {
	case !w.full || *room > 0:
		w.add(strconv.Quote(code), data)
		if w.full {
			*room -= w.size - before
		}
	case typed || code == "m":
		w.over()
	}
}

// over ends a recording that has no room for what must stand in it: whoever has to record learns of it, instead of people working unseen. mu is held.
func (w *Writer) over() {
	w.add(`"m"`, fmt.Sprintf("not recorded: %d bytes shown; the recording has no room for anything else and ends", w.lost))
	w.flush(true)
	if w.err == nil {
		w.err = fault.New("recording.Writer", fault.Exhausted, "the recording is full").Advise("begin another session")
	}
}

// add puts a line into text, and writes the segment when it has grown enough. mu is held.
func (w *Writer) add(code, data string) {
	w.begin()
	// A clock that is set back must not make an event older than the one before.
	w.last = max(w.last, w.clk.Now().Sub(w.start))
	before := w.text.Len()
	fmt.Fprintf(&w.text, "[%.6f, %s, ", w.last.Seconds(), code)
	w.size += int64(w.text.Len() - before)
	w.encode(data)
	w.text.Truncate(w.text.Len() - 1)
	w.text.WriteString("]\n")
	if w.text.Len() >= segmentText {
		w.flush(false)
	}
}

// encode adds a value as JSON and an end of line. mu is held.
func (w *Writer) encode(v any) {
	before := w.text.Len()
	e := json.NewEncoder(&w.text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil && w.err == nil {
		w.err = failed("recording.Writer", err)
	}
	w.size += int64(w.text.Len() - before)
}

// dimension makes a size of a terminal one that programs can work with.
func dimension(n, otherwise int) int {
	if n < 1 || n > 10000 {
		return otherwise
	}
	return n
}
