package recording

import (
	"bytes"
	"encoding/binary"
	"io"

	"filippo.io/age"
)

// The form of a file; doc.go tells it.
const (
	magic      = "isthmus-recording 1\n"
	prefixSize = 16 + 4 + 1
	lastFlag   = 1

	segmentText = 256 << 10 // a segment is written when its text has as many bytes
	maxEvent    = 32 << 10  // bytes of data of one event; more becomes several
	// maxSealed is what a segment can have at most: its text, one event more with each byte escaped, and what age adds.
	maxSealed = segmentText + 8*maxEvent + 64<<10
)

// segments writes age files one after the other.
type segments struct {
	w    io.Writer
	to   []age.Recipient
	id   [16]byte
	next uint32
}

// write seals text as the next segment and writes it with one call.
func (s *segments) write(text []byte, last bool) error {
	out := bytes.NewBuffer(make([]byte, 4, len(text)+2048))
	sealed, err := age.Encrypt(out, s.to...)
	if err != nil {
		return err
	}
	prefix := binary.BigEndian.AppendUint32(s.id[:], s.next)
	if last {
		prefix = append(prefix, lastFlag)
	} else {
		prefix = append(prefix, 0)
	}
	s.next++
	for _, part := range [][]byte{prefix, text} {
		if _, err := sealed.Write(part); err != nil {
			return err
		}
	}
	if err := sealed.Close(); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(out.Bytes(), uint32(out.Len()-4))
	_, err = s.w.Write(out.Bytes())
	return err
}
