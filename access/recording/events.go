package recording

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// maxLine is the longest line of an asciicast that is read: what Writer writes at most, and room for those of others.
const maxLine = 1 << 20

// Kind is what an event tells of.
type Kind byte

// The kinds, by their letters.
const (
	Shown   Kind = 'o'
	Typed   Kind = 'i'
	Resized Kind = 'r' // data is WIDTHxHEIGHT
	Marker  Kind = 'm'
)

// Event is one line of an asciicast.
type Event struct {
	At       time.Duration // since the beginning; never before the event before it
	Kind     Kind
	Terminal int // from 1; of a marker 1
	Data     string
}

// Events reads an asciicast.
type Events struct {
	Header Header
	lines  *bufio.Scanner
	last   time.Duration
}

// NewEvents reads the header. What is not an asciicast of version 2 is Invalid.
func NewEvents(r io.Reader) (*Events, error) {
	e := &Events{lines: bufio.NewScanner(r)}
	e.lines.Buffer(nil, maxLine)
	line, err := e.line()
	if errors.Is(err, io.EOF) {
		return e, nil // nothing was recorded before the writer was killed
	}
	if err != nil {
		return nil, fault.Wrap("recording.NewEvents", fault.Internal, err, "")
	}
	var h struct {
		Version   int               `json:"version"`
		Width     int               `json:"width"`
		Height    int               `json:"height"`
		Timestamp int64             `json:"timestamp"`
		Title     string            `json:"title"`
		Env       map[string]string `json:"env"`
	}
	if err := json.Unmarshal(line, &h); err != nil || h.Version != 2 {
		return nil, fault.New("recording.NewEvents", fault.Invalid, "this is not an asciicast of version 2").Because(err)
	}
	e.Header = Header{
		Width: dimension(h.Width, 80), Height: dimension(h.Height, 24), Timestamp: time.Unix(h.Timestamp, 0),
		Title: printable(h.Title, maxMark), Term: printable(h.Env["TERM"], 100),
	}
	return e, nil
}

// Next returns the next event, io.EOF behind the last. Events of kinds it does not know are left out; a line that is none is Invalid.
func (e *Events) Next() (Event, error) {
	for {
		line, err := e.line()
		if err != nil {
			return Event{}, err
		}
		var at float64
		var code, data string
		parts := []any{&at, &code, &data}
		if err := json.Unmarshal(line, &parts); err != nil || len(parts) < 3 || code == "" {
			return Event{}, fault.New("recording.Events", fault.Invalid, "a line of the recording is not an event").Because(err)
		}
		// Nobody works for a year at one terminal; this keeps times what a Duration can hold.
		const year = 365 * 24 * time.Hour
		e.last = max(e.last, time.Duration(math.Min(at, year.Seconds())*float64(time.Second)))
		out := Event{At: e.last, Kind: Kind(code[0]), Terminal: 1, Data: data}
		if len(code) > 1 {
			n, err := strconv.ParseUint(code[1:], 10, 31)
			if err != nil || n < 2 || out.Kind == Marker {
				continue
			}
			out.Terminal = int(n)
		}
		switch out.Kind {
		case Shown, Typed, Resized, Marker:
			return out, nil
		}
	}
}

// line returns the next line that is not empty.
func (e *Events) line() ([]byte, error) {
	for e.lines.Scan() {
		if len(e.lines.Bytes()) > 0 {
			return e.lines.Bytes(), nil
		}
	}
	switch err := e.lines.Err(); {
	case err == nil:
		return nil, io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fault.Newf("recording.Events", fault.TooLarge, "a line of the recording has more than %d bytes", maxLine)
	default:
		return nil, err
	}
}
