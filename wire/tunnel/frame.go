package tunnel

import (
	"encoding/binary"
	"io"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
)

// Sizes and limits of mux frames, in bytes.
const (
	HeaderLen     = 12
	MaxData       = 64 << 10 // payload of one Data frame
	MaxFlow       = 1 << 10  // payload of one Open frame
	MaxMessage    = 256      // words in a Reset or GoAway frame
	InitialWindow = 256 << 10
	MaxWindow     = 1 << 30 // credit a stream may ever have outstanding
)

// Type is what a mux frame means.
type Type uint8

// The frame types. Who may send which, and when, is in docs/link-mux.md.
const (
	TypeOpen   Type = 1 // a new stream; the payload is a Flow
	TypeAccept Type = 2 // the acceptor has taken the stream
	TypeData   Type = 3 // bytes of a stream
	TypeWindow Type = 4 // credit: so many bytes more may be sent
	TypeFin    Type = 5 // the sender sends no more on this stream
	TypeReset  Type = 6 // the stream is gone, both ways
	TypePing   Type = 7 // eight opaque bytes, to be returned with FlagReply
	TypeGoAway Type = 8 // the sender takes no more Open frames, or is about to hang up
)

var typeNames = [...]string{
	TypeOpen: "Open", TypeAccept: "Accept", TypeData: "Data", TypeWindow: "Window", TypeFin: "Fin", TypeReset: "Reset",
	TypePing: "Ping", TypeGoAway: "GoAway",
}

// String returns the name used in the documentation.
func (t Type) String() string {
	if t.known() {
		return typeNames[t]
	}
	return "type " + strconv.Itoa(int(t))
}

func (t Type) known() bool { return t >= TypeOpen && t <= TypeGoAway }

// FlagReply marks a Ping that answers one.
const FlagReply uint8 = 1

// Header begins every mux frame. Stream is 0 for Ping and GoAway and never 0 for the others; Length counts the payload alone.
type Header struct {
	Type   Type
	Flags  uint8
	Stream uint32
	Length uint32
}

// bounds are the least and greatest payload of each type.
var bounds = [...]struct{ least, most uint32 }{
	TypeOpen:   {minFlow, MaxFlow},
	TypeAccept: {0, 0},
	TypeData:   {1, MaxData},
	TypeWindow: {4, 4},
	TypeFin:    {0, 0},
	TypeReset:  {2, 2 + MaxMessage},
	TypePing:   {8, 8},
	TypeGoAway: {2, 2 + MaxMessage},
}

// Check says whether the header may begin a frame: known type, known flags, a stream where there must be one, a length in bounds.
func (h Header) Check() error {
	const op = "tunnel.Header"
	switch {
	case !h.Type.known():
		return fault.Newf(op, fault.Invalid, "frame of unknown type %d", uint8(h.Type))
	case h.Flags != 0 && (h.Type != TypePing || h.Flags != FlagReply):
		return fault.Newf(op, fault.Invalid, "%s frame with flags %#x", h.Type, h.Flags)
	case (h.Stream == 0) != (h.Type == TypePing || h.Type == TypeGoAway):
		return fault.Newf(op, fault.Invalid, "%s frame on stream %d", h.Type, h.Stream)
	case h.Length < bounds[h.Type].least || h.Length > bounds[h.Type].most:
		return fault.Newf(op, fault.Invalid, "%s frame of %d bytes, allowed are %d to %d", h.Type, h.Length,
			bounds[h.Type].least, bounds[h.Type].most)
	}
	return nil
}

// Put writes the header to the first HeaderLen bytes of b.
func (h Header) Put(b []byte) {
	_ = b[HeaderLen-1]
	b[0], b[1], b[2], b[3] = byte(h.Type), h.Flags, 0, 0
	binary.BigEndian.PutUint32(b[4:], h.Stream)
	binary.BigEndian.PutUint32(b[8:], h.Length)
}

// ParseHeader reads a header from the first HeaderLen bytes of b and checks it; the error has kind Invalid.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, fault.New("tunnel.ParseHeader", fault.Invalid, "frame header cut short")
	}
	h := Header{
		Type: Type(b[0]), Flags: b[1],
		Stream: binary.BigEndian.Uint32(b[4:]), Length: binary.BigEndian.Uint32(b[8:]),
	}
	if err := h.Check(); err != nil {
		return h, err
	}
	if b[2] != 0 || b[3] != 0 {
		return h, fault.Newf("tunnel.ParseHeader", fault.Invalid, "%s frame with its reserved bytes set", h.Type)
	}
	return h, nil
}

// Frame is a whole mux frame, for tests, tools and peers that do not mind a copy; link/mux reads payloads where they belong.
type Frame struct {
	Type    Type
	Flags   uint8
	Stream  uint32
	Payload []byte
}

// AppendFrame appends the frame's bytes to b. The payload's length must be within the type's bounds.
func AppendFrame(b []byte, f Frame) ([]byte, error) {
	h := Header{Type: f.Type, Flags: f.Flags, Stream: f.Stream, Length: uint32(len(f.Payload))}
	if err := h.Check(); err != nil {
		return b, err
	}
	var hdr [HeaderLen]byte
	h.Put(hdr[:])
	return append(append(b, hdr[:]...), f.Payload...), nil
}

// ReadFrame reads one frame and never more than HeaderLen+MaxData bytes. It returns io.EOF only at a frame's border and
// io.ErrUnexpectedEOF within one. The payload is not looked into.
func ReadFrame(r io.Reader) (Frame, error) {
	var hdr [HeaderLen]byte
	if _, err := io.ReadFull(r, hdr[:]); err != nil {
		return Frame{}, err
	}
	h, err := ParseHeader(hdr[:])
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Type: h.Type, Flags: h.Flags, Stream: h.Stream}
	if h.Length > 0 {
		f.Payload = make([]byte, h.Length)
		if _, err := io.ReadFull(r, f.Payload); err != nil {
			return Frame{}, noEOF(err)
		}
	}
	return f, nil
}

func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // readers return io.EOF itself
		return io.ErrUnexpectedEOF
	}
	return err
}
