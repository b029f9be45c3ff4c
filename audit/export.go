package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// The format of an export: JSON lines, the first of them a Header, then records and, anywhere behind theirs, checkpoints.
const (
	Format  = "isthmus audit"
	Version = 1
	MaxLine = 64 << 20 // bytes of a line, without its end: an object of 32 MiB before and after its change
)

// Header is the first line of an export.
type Header struct {
	Format      string    `json:"format"`  // Format
	Version     int       `json:"version"` // of the format
	TrustDomain string    `json:"trustDomain"`
	At          time.Time `json:"at"` // when the export began
	Chains      []Part    `json:"chains"`
}

// Part is what an export has of one chain. Chains that begin later are not in the header and are there from their first record.
type Part struct {
	Tenant  string `json:"tenant,omitempty"`
	After   Place  `json:"after"`             // the record before the first one
	Through int64  `json:"through,omitempty"` // the export goes at least so far; 0: it goes on, as with --follow
}

// Line is one line of an export; one field is set.
type Line struct {
	Header     *Header
	Record     *Record
	Checkpoint *Checkpoint
}

// The words under "type".
const (
	typeHeader     = "header"
	typeRecord     = "record"
	typeCheckpoint = "checkpoint"
)

type headerLine struct {
	Type string `json:"type"`
	Header
}

type recordLine struct {
	Type string `json:"type"`
	Record
}

type checkpointLine struct {
	Type string `json:"type"`
	Checkpoint
}

func (l Line) marshal() ([]byte, error) {
	switch {
	case l.Header != nil:
		return json.Marshal(headerLine{typeHeader, *l.Header})
	case l.Record != nil:
		return json.Marshal(recordLine{typeRecord, *l.Record})
	case l.Checkpoint != nil:
		return json.Marshal(checkpointLine{typeCheckpoint, *l.Checkpoint})
	}
	return nil, errors.New("an empty line")
}

// Append writes the line, with its end, behind b.
func (l Line) Append(b []byte) ([]byte, error) {
	text, err := l.marshal()
	if err != nil {
		return b, fault.Wrap("audit.Append", fault.Internal, err, "")
	}
	if len(text) > MaxLine {
		return b, fault.Newf("audit.Append", fault.TooLarge, "a line of the export would have %d bytes", len(text))
	}
	return append(append(b, text...), '\n'), nil
}

// Reader reads an export line by line.
type Reader struct {
	in     *bufio.Reader
	line   []byte
	number int
	offset int64
}

// NewReader reads from in, 64 KiB at a time.
func NewReader(in io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(in, 64<<10)} }

// Number is that of the line read last, from 1; Offset how many bytes have been read with it.
func (r *Reader) Number() int { return r.number }

// Offset is how many bytes the lines read so far have.
func (r *Reader) Offset() int64 { return r.offset }

// Next reads a line. io.EOF after the last; Invalid, with the line's number, for what a Writer of this format does not write.
func (r *Reader) Next() (Line, error) {
	r.line, r.number = r.line[:0], r.number+1
	for {
		part, err := r.in.ReadSlice('\n')
		r.line = append(r.line, part...)
		r.offset += int64(len(part))
		switch {
		case len(r.line) > MaxLine+1:
			return Line{}, r.wrong("it has more than %d MiB", MaxLine>>20)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.line) == 0:
			return Line{}, io.EOF
		case errors.Is(err, io.EOF):
			return Line{}, r.wrong("its end is missing: the file was cut off, or is still being written")
		case err != nil:
			return Line{}, fault.Wrap("audit.Next", fault.Unavailable, err, "the export cannot be read: "+err.Error())
		}
		return r.parse(r.line[:len(r.line)-1])
	}
}

func (r *Reader) wrong(format string, args ...any) error {
	return fault.Newf("audit.Next", fault.Invalid, "line %d is none of an audit export: %s", r.number, fmt.Sprintf(format, args...)).
		Advise("take the file as it was written; programs that write JSON anew (jq, editors) change what was hashed")
}

func (r *Reader) parse(text []byte) (Line, error) {
	// Every line begins so; what does not is not read any further.
	after, ok := bytes.CutPrefix(text, []byte(`{"type":"`))
	sort, _, closed := bytes.Cut(after, []byte(`"`))
	if !ok || !closed {
		return Line{}, r.wrong("it does not begin with a type")
	}
	var l Line
	var err error
	switch string(sort) {
	case typeHeader:
		var h headerLine
		err = json.Unmarshal(text, &h)
		l.Header = &h.Header
		if err == nil && (h.Format != Format || h.Version != Version) {
			return Line{}, r.wrong("its format is %.40q, version %d, and this program reads %q, version %d", h.Format, h.Version, Format, Version)
		}
	case typeRecord:
		var v recordLine
		err = json.Unmarshal(text, &v)
		l.Record = &v.Record
	case typeCheckpoint:
		var v checkpointLine
		err = json.Unmarshal(text, &v)
		l.Checkpoint = &v.Checkpoint
	default:
		return Line{}, r.wrong("its type is %.40q", sort)
	}
	if err != nil {
		return Line{}, r.wrong("a field of it has another type")
	}
	// Twice the same key, keys in other case, fields nobody hashes: what is not written so is not read.
	again, err := l.marshal()
	if err != nil || !bytes.Equal(again, text) {
		return Line{}, r.wrong("it was changed, or written by another program")
	}
	if (r.number == 1) != (l.Header != nil) {
		return Line{}, r.wrong("an export has one header, in its first line")
	}
	return l, nil
}
