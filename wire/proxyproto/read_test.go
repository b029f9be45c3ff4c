package proxyproto_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

func TestReadTakesNothingBehindTheHeader(t *testing.T) {
	for _, c := range headers {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with EOF": iotest.DataErrReader,
		} {
			rest := bytes.NewReader(append(wireBytes(t, c.wire), "behind"...))
			h, err := proxyproto.Read(wrap(rest))
			if err != nil {
				t.Fatalf("%s, %s: %v", c.name, how, err)
			}
			same(t, h, c.header)
			if how != "with EOF" && rest.Len() != len("behind") {
				t.Errorf("%s, %s: %d bytes left", c.name, how, rest.Len())
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range refused {
		_, err := proxyproto.Read(bytes.NewReader(wireBytes(t, c.wire)))
		if c.wire == "" {
			if !errors.Is(err, io.EOF) {
				t.Errorf("nothing: %v", err)
			}
			continue
		}
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAcceptGivesBackWhatIsNoHeader(t *testing.T) {
	for _, first := range []string{"\x16\x03\x01\x02\x00\x01\x00", "POST / HTTP/1.1\r\n\r\n", "\x10", "\r\nhello", "PROXX"} {
		a, b := net.Pipe()
		go func() { _, _ = io.WriteString(a, first); _ = a.Close() }()
		h, conn, err := proxyproto.Accept(b, time.Minute)
		if err != nil || h != nil {
			t.Fatalf("%q: %+v, %v", first, h, err)
		}
		if got, _ := io.ReadAll(conn); string(got) != first {
			t.Errorf("%q comes out as %q", first, got)
		}
		_ = conn.Close()
	}
}

func TestAcceptReturnsTheConnectionItself(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	go func() { _, _ = a.Write(append(wireBytes(t, headers[1].wire), "\x16\x03"...)); _ = a.Close() }()
	h, conn, err := proxyproto.Accept(b, time.Minute)
	if err != nil || conn != b {
		t.Fatalf("%v, %v", conn, err)
	}
	same(t, *h, headers[1].header)
	if id, ok := h.LinkID(); !ok || id != 0x11223344 {
		t.Errorf("link id %x", id)
	}
	if got, _ := io.ReadAll(conn); string(got) != "\x16\x03" {
		t.Errorf("behind the header: %q", got)
	}
}

func TestAcceptBoundsSlowAndBrokenHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for _, c := range wireBytes(t, headers[0].wire) { // a byte a second: slow, but never silent
				if _, err := a.Write([]byte{c}); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		}()
		start := time.Now()
		_, _, err := proxyproto.Accept(b, 5500*time.Millisecond)
		if fault.KindOf(err) != fault.Timeout || !strings.Contains(fault.Message(err), "6 bytes did") || time.Since(start) != 5500*time.Millisecond {
			t.Errorf("slow: after %s %v", time.Since(start), err)
		}
		_ = b.Close()
		<-ended
	})
	a, b := net.Pipe()
	go func() { _, _ = a.Write(wireBytes(t, headers[0].wire)[:20]); _ = a.Close() }()
	if _, _, err := proxyproto.Accept(b, time.Minute); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), "truncated: 20 bytes came, at least 8 more") {
		t.Errorf("cut: %v", err)
	}
	a, b = net.Pipe()
	_ = a.Close()
	if _, _, err := proxyproto.Accept(b, time.Minute); !errors.Is(err, io.EOF) {
		t.Errorf("silent: %v", err)
	}
}
