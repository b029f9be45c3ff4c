package abuse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// frame is a WebSocket frame as a client sends it, RFC 6455 clause 5.2, with a mask of zeros; length is what it claims.
func frame(first byte, length uint64, payload []byte) []byte {
	out := []byte{first}
	switch {
	case length < 126:
		out = append(out, 0x80|byte(length))
	case length < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(length))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), length)
	}
	return append(append(out, 0, 0, 0, 0), payload...)
}

// upgrade asks for a WebSocket and returns the connection, or the status that refused it.
func (s *site) upgrade(source string, header ...string) (net.Conn, int, error) {
	c, err := s.hub.DialTLS(s.t.Context(), source, s.hub.HTTPS, s.hub.TLS(processes.Contoso))
	if err != nil {
		return nil, 0, err
	}
	_ = c.SetDeadline(time.Now().Add(patient))
	request := "GET /$iothub/websocket HTTP/1.1\r\nHost: " + processes.Contoso + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n" + strings.Join(header, "\r\n") + "\r\n\r\n"
	if _, err := io.WriteString(c, request); err != nil {
		return nil, 0, errors.Join(err, c.Close())
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, 0, errors.Join(err, c.Close())
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, res.StatusCode, c.Close()
	}
	return c, res.StatusCode, nil
}

// Frames that nobody sends end their WebSocket; those that promise much, or hardly come, make the hub hold little, and not for ever.
func TestHostileWebSockets(t *testing.T) {
	s := startHub(t)
	const ours = "Sec-WebSocket-Protocol: mqtt"
	for _, c := range []struct {
		header string
		status int
	}{{"X: none", 400}, {"Sec-WebSocket-Protocol: soap", 400}, {"Sec-WebSocket-Protocol: " + strings.Repeat("x, ", 10_000) + "x", 400}, {ours, 101}} {
		conn, status, err := s.upgrade("", c.header)
		if err != nil || status != c.status {
			t.Errorf("%.60s: %d, %v", c.header, status, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
	for name, bytes := range map[string][]byte{
		"text": frame(0x81, 5, []byte("hello")), "no mask": {0x82, 1, 'x'}, "reserved bits": frame(0xf2, 1, []byte("x")), "an unknown opcode": frame(0x83, 1, []byte("x")),
		"a ping of 200 bytes": frame(0x89, 200, make([]byte, 200)), "a continuation of nothing": frame(0x80, 1, []byte("x")), "no CONNECT": frame(0x82, 2, []byte{0xc0, 0}),
		"a CONNECT of 256 MB":   frame(0x82, 5, []byte{0x10, 0xff, 0xff, 0xff, 0x7f}),
		"a frame of 2^64 bytes": frame(0x82, 1<<64-1, []byte{0xc0, 0}),
	} {
		conn, _, err := s.upgrade("", ours)
		must(t, err)
		_, err = conn.Write(bytes)
		must(t, err)
		if err := ended(conn, time.Now().Add(patient)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.Close()
	}
	s.says("a frame of the WebSocket is text")
	o := s.bystanders()
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var open atomic.Int64
	connect, err := (&mqtt.Connect{ClientID: "x", HasUserName: true, UserName: strings.Repeat("u", 60_000)}).Append(nil)
	must(t, err)
	for i := range more(200, 2_000) {
		all.Go(func() { // a byte a frame, or pings between, and never a whole CONNECT
			conn, _, err := s.upgrade(fmt.Sprintf("127.0.12.%d", 1+i%100), ours)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Time{})
			open.Add(1)
			if _, err := conn.Write(frame(0x02, 1<<40, connect[:1])); err != nil {
				t.Error(err)
			}
			for at := 1; ctx.Err() == nil && at < len(connect)-1; at++ {
				if i%2 == 0 {
					_, _ = conn.Write(connect[at : at+1]) // inside that frame
				}
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	await(t, "all of them", func() error {
		if n := open.Load(); n < int64(more(200, 2_000)) {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
	pings, _, err := s.upgrade("", ours)
	must(t, err)
	all.Go(func() { // pings whose pongs nobody reads
		many := bytes.Repeat(frame(0x89, 100, make([]byte, 100)), 100)
		for ctx.Err() == nil {
			_ = pings.SetDeadline(time.Now().Add(time.Second))
			if _, err := pings.Write(many); err != nil {
				return
			}
		}
	})
	<-time.After(time.Duration(more(2, 70)) * time.Second)
	o.fine("beside hostile WebSockets", 15)
	cancel()
	_ = pings.Close()
	all.Wait()
	memory().within(t, 80)
	o.stop()
	s.end()
	if n := len(s.lines("level=ERROR")); n > 0 {
		t.Errorf("the log has %d errors:\n%s", n, s.tail())
	}
	if n := len(s.lines()); n > 60+more(0, 400) {
		t.Errorf("the log has %d lines:\n%s", n, s.tail())
	}
}

// Streams are bounded in number, in time and by tokens that nobody guesses.
func TestAFloodOfStreams(t *testing.T) {
	s := startHub(t)
	quiet := s.create("quiet")
	conn := s.deaf(quiet, "$iothub/streams/POST/#") // it listens, and never answers
	defer conn.Close()
	o := s.bystanders()
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var refused, guessed atomic.Int64
	for range 100 {
		all.Go(func() {
			for ctx.Err() == nil {
				r, err := s.web.Ask(ctx, "POST", contoso+"/twins/quiet/streams/flood"+v2021, s.token(), nil,
					"iothub-streaming-response-timeout-in-seconds", "60", "iothub-streaming-connect-timeout-in-seconds", "60")
				switch {
				case ctx.Err() != nil:
				case err != nil || r.Status != 429 && r.Status != 403:
					t.Errorf("a stream is answered with %d %s, %v", r.Status, r.Body, err)
					return
				default:
					refused.Add(1)
				}
			}
		})
	}
	all.Go(func() { // tokens that nobody made
		for i := 0; ctx.Err() == nil; i++ {
			r, err := s.web.Ask(ctx, "GET", contoso+fmt.Sprintf("/$iothub/streams/%032x", i), "Bearer "+fmt.Sprintf("%064x", i), nil,
				"Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version", "13")
			if ctx.Err() == nil && (err != nil || r.Status/100 != 4) {
				t.Errorf("a guessed token: %d, %v", r.Status, err)
				return
			}
			guessed.Add(1)
		}
	})
	<-time.After(time.Duration(more(2, 60)) * time.Second)
	o.fine("beside streams without end", 10)
	cancel()
	all.Wait()
	t.Logf("%d streams were refused, %d tokens were guessed", refused.Load(), guessed.Load())
	if refused.Load() == 0 || guessed.Load() == 0 {
		t.Error("that was no flood")
	}
	memory().within(t, 64)
	o.stop()
	s.end()
	if n := len(s.lines()); n > 300 {
		t.Errorf("the log has %d lines:\n%s", n, s.tail())
	}
}
