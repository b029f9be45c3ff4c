package abuse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// Parts of a ClientHello, RFC 8446 clause 4.1.2.

func vector(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func extension(kind uint16, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kind), vector(data)...)
}

// names is the server name extension, RFC 6066 clause 3.
func names(hosts ...string) []byte {
	var list []byte
	for _, h := range hosts {
		list = append(append(list, 0), vector([]byte(h))...)
	}
	return extension(0, vector(list))
}

// padding is RFC 7685.
func padding(n int) []byte { return extension(21, make([]byte, n)) }

// helloOf is a whole ClientHello with these extensions.
func helloOf(extensions ...[]byte) []byte {
	body := append([]byte{3, 3}, bytes.Repeat([]byte{7}, 32)...)
	body = append(body, 0, 0, 2, 0x13, 0x01, 1, 0)
	body = append(body, vector(bytes.Join(extensions, nil))...)
	return append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// records puts a message into TLS records of that many bytes each.
func records(message []byte, size int) (out []byte) {
	for len(message) > 0 {
		n := min(size, len(message))
		out = append(append(out, 22, 3, 1, byte(n>>8), byte(n)), message[:n]...)
		message = message[n:]
	}
	return out
}

// said has a source say something and returns how much of it comes back from the target that repeats everything.
func (f *front) said(source string, text []byte) (back []byte, err error) {
	c, err := from(source, f.at)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patient))
	if _, err := c.Write(text); err != nil {
		return nil, fmt.Errorf("reset: %w", err)
	}
	back = make([]byte, len(text))
	n, err := io.ReadFull(c, back)
	return back[:n], err
}

// What no client says is answered with a reset, at once; what only looks strange is served.
func TestHellosNobodySends(t *testing.T) {
	f := startFront(t, manifest("  openToAll: true\n", map[string][]string{served: {serve(t, repeat).at()}, raw: {serve(t, echo).at()}}))
	o := f.besides()
	memory := f.watchMemory()
	good := helloOf(names(raw))
	kinds := []struct {
		name   string
		bytes  []byte
		reason string // "" is served
	}{
		{"60 kB of padding", records(helloOf(names(raw), padding(60_000)), 1<<14), "hello-too-long"},
		{"60 kB before the name", records(helloOf(padding(60_000), names(raw)), 1<<14), "hello-too-long"},
		{"16 MB promised", []byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, "bad-hello"},
		{"15 kB of padding", records(helloOf(names(raw), padding(15_000)), 1<<14), ""},
		{"a record for each byte", records(good, 1), ""},
		{"5 kB, a record for each byte", records(helloOf(names(raw), padding(5_000)), 1), "hello-too-long"},
		{"a NUL in the name", records(helloOf(names("raw.example\x00.evil.example")), 1<<14), "bad-hello"},
		{"a line break in the name", records(helloOf(names("raw.example\nlevel=ERROR msg=forged")), 1<<14), "bad-hello"},
		{"an escape for terminals in the name", records(helloOf(names("\x1b]0;forged\x07.example")), 1<<14), "bad-hello"},
		{"a name of 300 bytes", records(helloOf(names(strings.Repeat("long.", 60)+"example")), 1<<14), "bad-hello"},
		{"an address for a name", records(helloOf(names("127.0.0.1")), 1<<14), "bad-hello"},
		{"two names", records(helloOf(names(raw, served)), 1<<14), "bad-hello"},
		{"the extension twice", records(helloOf(names(raw), names(served)), 1<<14), "bad-hello"},
		{"a name that nobody routes", records(helloOf(names("nobody.example")), 1<<14), "no-route"},
		{"no name", records(helloOf(), 1<<14), "no-route"},
		{"an empty record first", append([]byte{22, 3, 1, 0, 0}, records(good, 1<<14)...), "bad-hello"},
		{"an empty record in the middle", append(records(good[:20], 20), append([]byte{22, 3, 1, 0, 0}, records(good[20:], 1<<14)...)...), "bad-hello"},
		{"an alert in the middle", append(records(good[:20], 20), 21, 3, 1, 0, 2, 1, 0), "bad-hello"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: raw.example\r\n\r\n"), "bad-hello"},
		{"a PROXY header of nobody we trust", []byte("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), "bad-hello"},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.2\r\n"), "bad-hello"},
		{"zeros", make([]byte, 1000), "bad-hello"},
	}
	lasting := time.Duration(more(2, 60)) * time.Second
	want := map[string]uint64{}
	for i, start := 0, time.Now(); i < 10 || time.Since(start) < lasting; i++ {
		for _, k := range kinds {
			began := time.Now()
			back, err := f.said(fmt.Sprintf("127.0.3.%d", 1+i%200), k.bytes)
			if k.reason != "" {
				want[k.reason]++
				if err == nil || len(back) > 0 {
					t.Fatalf("%s: %d bytes came back", k.name, len(back))
				}
				if took := time.Since(began); took > tolerable {
					t.Errorf("%s: only after %v: %v", k.name, took, err)
				}
				if errors.Is(err, io.EOF) {
					t.Errorf("%s: the connection ended as if all were well", k.name)
				}
				continue
			}
			if err != nil || !bytes.Equal(back, k.bytes) {
				t.Fatalf("%s: %d of %d bytes came back, %v", k.name, len(back), len(k.bytes), err)
			}
		}
	}
	o.fine("beside strange hellos", 50)
	memory().within(t, 24)
	for reason, n := range want {
		if got := f.refusals(reason); got != n {
			t.Errorf("%d refusals are %s, wanted %d", got, reason, n)
		}
	}
	o.stop()
	f.end()
	for reason, n := range want {
		if got := f.told(3+int(lasting/(10*time.Second)), reason); got != n {
			t.Errorf("the log accounts for %d of %d refusals that are %s", got, n, reason)
		}
	}
	if log := f.Log(); strings.ContainsAny(log, "\x00\x1b\x07") || strings.Contains(log, "\nlevel=ERROR") || strings.Contains(log, "forged") {
		t.Errorf("what clients say gets into the log:\n%q", f.tail())
	}
	if n := len(f.lines()); n > 20+int(lasting/time.Second) {
		t.Errorf("the log has %d lines:\n%s", n, f.tail())
	}
}
