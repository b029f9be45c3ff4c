package amqp

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

func TestReaderCutsFrames(t *testing.T) {
	var stream []byte
	h := ProtocolHeader(ProtocolSASL)
	stream = append(stream, h[:]...)
	big := bytes.Repeat([]byte{7}, 200_000)
	stream = AppendFrame(stream, FrameSASL, 0, &SASLOutcome{}, nil)
	stream = AppendFrame(stream, FrameAMQP, 0, nil, nil)
	stream = append(stream, 0, 0, 0, 17, 3, 0, 1, 2, 0xee, 0xee, 0xee, 0xee) // an extended header of four bytes
	stream = append(stream, 0x00, 0x53, 0x17, 0x45, 0x40)
	stream = AppendTransfer(stream, 65535, &Transfer{Handle: 1}, big)
	stream = AppendFrame(stream, FrameAMQP, 3, &End{}, nil)

	for name, src := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "one byte at a time": iotest.OneByteReader(bytes.NewReader(stream)), "halves": iotest.HalfReader(bytes.NewReader(stream)),
	} {
		r := NewReader(src)
		r.Buffers = new(Buffers)
		waits := 0
		r.Waiting = func() { waits++; r.Rest() }
		if got, err := r.ProtocolHeader(); err != nil || got != h {
			t.Fatal(name, got, err)
		}
		r.Limit(300_000)
		for i, want := range []struct {
			kind    byte
			channel uint16
			body    []byte
		}{
			{FrameSASL, 0, []byte{0x00, 0x53, 0x44, 0xc0, 0x03, 0x01, 0x50, 0x00}},
			{FrameAMQP, 0, nil},
			{FrameAMQP, 0x102, []byte{0x00, 0x53, 0x17, 0x45, 0x40}},
			{FrameAMQP, 65535, append([]byte{0x00, 0x53, 0x14, 0xc0, 0x03, 0x01, 0x52, 0x01}, big...)},
			{FrameAMQP, 3, []byte{0x00, 0x53, 0x17, 0x45}},
		} {
			kind, channel, body, err := r.Next()
			if err != nil || kind != want.kind || channel != want.channel || !bytes.Equal(body, want.body) {
				t.Fatalf("%s: frame %d is kind %d, channel %d, %d bytes, %v", name, i, kind, channel, len(body), err)
			}
			if cap(body) != len(body) {
				t.Fatalf("%s: frame %d can be appended to: what follows would be overwritten", name, i)
			}
		}
		if _, _, _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Error(name, err)
		}
		if waits > 7 {
			t.Errorf("%s: waited %d times for seven things", name, waits)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		limit       uint32
		want        error
	}{
		{"nothing", "", 0, io.EOF},
		{"a part of a header", "00 00 00", 0, io.ErrUnexpectedEOF},
		{"a part of a body", "00 00 00 0c 02 00 00 00 00 53", 0, io.ErrUnexpectedEOF},
		{"a size below the header's", "00 00 00 07 02 00 00 00", 0, ErrFraming},
		{"a size of nothing", "00 00 00 00 02 00 00 00", 0, ErrFraming},
		{"a data offset below the header's", "00 00 00 08 01 00 00 00", 0, ErrFraming},
		{"a data offset of nothing", "00 00 00 08 00 00 00 00", 0, ErrFraming},
		{"a data offset beyond the frame", "00 00 00 0b 03 00 00 00 00*8", 0, ErrFraming},
		{"above the first limit", "00 00 02 01 02 00 00 00", 0, ErrFraming},
		{"above a limit below the least", "00 00 02 01 02 00 00 00", 8, ErrFraming},
		{"above a limit", "00 01 00 01 02 00 00 00", 65536, ErrFraming},
		{"very large, and allowed", "7f ff ff ff 02 00 00 00 01", 1<<32 - 1, io.ErrUnexpectedEOF},
		{"of 4 GiB", "ff ff ff ff 02 00 00 00 01", 1<<32 - 1, ErrFraming},
		{"a protocol header for a frame", "41 4d 51 50 00 01 00 00", 65536, ErrFraming},
	} {
		r := NewReader(bytes.NewReader(unhex(t, c.bytes)))
		if c.limit > 0 {
			r.Limit(c.limit)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, _, err := r.Next()
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if errors.Is(c.want, ErrFraming) && ConditionOf(err) != ConditionFramingError {
			t.Errorf("%s: condition %s", c.name, ConditionOf(err))
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
			t.Errorf("%s: %d bytes allocated", c.name, n)
		}
	}
	if _, err := NewReader(bytes.NewReader([]byte("AMQP"))).ProtocolHeader(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestReaderAtRestHoldsNothing(t *testing.T) {
	frame := AppendFrame(nil, FrameAMQP, 0, &End{}, nil)
	a, b := io.Pipe()
	defer a.Close()
	r := NewReader(a)
	r.Buffers = new(Buffers)
	go func() { _, _ = b.Write(frame) }()
	if _, _, _, err := r.Next(); err != nil || r.Buffered() != 0 {
		t.Fatal(err, r.Buffered())
	}
	if r.Rest(); r.buf != nil {
		t.Error("a buffer is held")
	}
	go func() { _, _ = b.Write(append(frame, frame[:9]...)) }()
	if _, _, _, err := r.Next(); err != nil || r.Buffered() != 9 {
		t.Fatal(err, r.Buffered())
	}
	r.Rest() // must not lose the part that has come
	go func() { _, _ = b.Write(frame[9:]) }()
	if _, _, body, err := r.Next(); err != nil || len(body) != 4 {
		t.Fatal(body, err)
	}
	r.Rest()
	n := testing.AllocsPerRun(50, func() {
		r.src = bytes.NewReader(frame)
		if _, _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		r.Rest()
	})
	if n > 1.5 { // the bytes.Reader; a pool may be emptied once
		t.Errorf("%v allocations to read and rest", n)
	}
}

func FuzzReader(f *testing.F) {
	h := ProtocolHeader(ProtocolAMQP)
	for _, c := range frames {
		size := len(unhex(f, c.bytes)) + 8
		f.Add(append(append(h[:], 0, 0, byte(size>>8), byte(size), 2, c.kind, 0, 1), unhex(f, c.bytes)...), byte(3))
	}
	f.Add(append(h[:], 0, 0, 0, 17, 3, 0, 1, 2, 0xee, 0xee, 0xee, 0xee, 0x00, 0x53, 0x17, 0x45, 0x40), byte(0))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), byte(1))
	f.Fuzz(func(t *testing.T, stream []byte, step byte) {
		read := func(src io.Reader, rest bool) (sizes []int, last error) {
			r := NewReader(src)
			if rest {
				r.Waiting = r.Rest
			}
			if _, err := r.ProtocolHeader(); err != nil {
				return nil, err
			}
			for {
				kind, _, body, err := r.Next()
				if err != nil {
					return sizes, err
				}
				if len(body)+8 > MinMaxFrame {
					t.Fatalf("a body of %d bytes", len(body))
				}
				sizes = append(sizes, len(body))
				_, _, err = Decode(kind, body)
				if err != nil && !errors.Is(err, ErrMalformed) {
					t.Fatal(err)
				}
			}
		}
		whole, err := read(bytes.NewReader(stream), false)
		if err == nil {
			t.Fatal("no end")
		}
		parts, perr := read(&stepped{b: stream, n: int(step%16) + 1}, true)
		if len(parts) != len(whole) || errors.Is(perr, io.EOF) != errors.Is(err, io.EOF) {
			t.Fatalf("in parts of %d: %v, %v; at once: %v, %v", step, parts, perr, whole, err)
		}
	})
}

// stepped gives at most n bytes at a time.
type stepped struct {
	b []byte
	n int
}

func (s *stepped) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b[:min(s.n, len(s.b))])
	s.b = s.b[n:]
	return n, nil
}

func FuzzDecode(f *testing.F) {
	for _, c := range frames {
		f.Add(c.kind, unhex(f, c.bytes))
	}
	for _, c := range otherwise {
		f.Add(byte(FrameAMQP), unhex(f, c.bytes))
	}
	for _, c := range wrongFrames {
		f.Add(c.kind, unhex(f, c.bytes))
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		p, payload, err := Decode(kind, body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || p != nil {
				t.Fatal(p, err)
			}
			return
		}
		if p == nil {
			return
		}
		if code, ok := DescriptorOf(body); !ok || code != p.Descriptor() {
			t.Fatalf("descriptor %#x, %v", code, ok)
		}
		written := AppendFrame(nil, kind, 0, p, payload)[8:]
		again, payload2, err := Decode(kind, written)
		if err != nil || !bytes.Equal(payload, payload2) {
			t.Fatalf("%+v: written % x: %v", p, written, err)
		}
		if twice := AppendFrame(nil, kind, 0, again, payload2)[8:]; !bytes.Equal(twice, written) {
			t.Fatalf("%+v: written % x, then % x", p, written, twice)
		}
	})
}
