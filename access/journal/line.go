package journal

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"

	"github.com/isthmus-io/isthmus/access/session"
)

// An entry is one line of a segment.
type entry struct {
	N      uint64           `json:"n,omitempty"` // with Record: its number in this life, from 1
	Record *session.Record  `json:"record,omitempty"`
	Open   []session.Record `json:"open,omitempty"`  // begins a segment: the sessions that earlier segments opened
	Taken  uint64           `json:"taken,omitempty"` // records up to this number need no sending
}

// maxLine bounds a line; a record within its own bounds needs less, however its text has to be escaped.
const maxLine = 4 << 20

// sumLength is how long the checksum is that begins a line, and the space after it.
const sumLength = 9

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLine adds an entry as a line: eight hexadecimal digits of the CRC-32C of what follows them, a space, JSON.
func appendLine(b []byte, e *entry) ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return b, err
	}
	if len(text) > maxLine-sumLength-1 {
		return b, errors.New("the record is too long for a line")
	}
	b = hex.AppendEncode(b, sum(text))
	b = append(b, ' ')
	b = append(b, text...)
	return append(b, '\n'), nil
}

func sum(text []byte) []byte {
	c := crc32.Checksum(text, castagnoli)
	return []byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)}
}

// readLine reads what appendLine wrote, without the newline; ok is false for a damaged line.
func readLine(line []byte) (e entry, ok bool) {
	if len(line) < sumLength || line[sumLength-1] != ' ' {
		return e, false
	}
	text := line[sumLength:]
	var want [8]byte
	hex.Encode(want[:], sum(text))
	if !bytes.Equal(want[:], line[:len(want)]) {
		return e, false
	}
	err := json.Unmarshal(text, &e)
	return e, err == nil
}

// A reader reads the lines of a segment and passes over damage.
type reader struct {
	r       *bufio.Reader
	offset  int64 // after the last line read
	damaged int   // damaged lines with a good one after them
	pending int   // damaged lines so far with none after them
}

func newReader(r io.Reader) *reader { return &reader{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next good entry; ok is false at the end. What the disk cannot read counts as damage, and as the end.
func (r *reader) next() (e entry, ok bool) {
	var long []byte
	for {
		part, err := r.r.ReadSlice('\n')
		r.offset += int64(len(part))
		whole := err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !errors.Is(err, io.EOF) {
				r.damaged++
			}
			return entry{}, false // what is left has no newline: a write that was cut short
		}
		if len(long) <= maxLine { // a longer one cannot be good
			long = append(long, part...)
		}
		if !whole {
			continue
		}
		if len(long) <= maxLine {
			if e, ok := readLine(long[:len(long)-1]); ok {
				r.damaged += r.pending
				r.pending = 0
				return e, true
			}
		}
		r.pending++
		long = long[:0]
	}
}
