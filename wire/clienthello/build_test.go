package clienthello

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// extension is one extension as it stands in a hello.
func extension(kind uint16, data []byte) []byte {
	return append([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}, data...)
}

func vector16(b []byte) []byte { return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...) }

// names is a server name extension with these host names.
func names(hosts ...string) []byte {
	var list []byte
	for _, h := range hosts {
		list = append(list, hostName)
		list = append(list, vector16([]byte(h))...)
	}
	return extension(extServerName, vector16(list))
}

func protocols(ps ...string) []byte {
	var list []byte
	for _, p := range ps {
		list = append(append(list, byte(len(p))), p...)
	}
	return extension(extALPN, vector16(list))
}

// hello is a whole message with these extensions; nil leaves the block of extensions out.
func hello(extensions ...[]byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0, 2, 0x13, 0x01, 1, 0)
	if extensions != nil {
		body = append(body, vector16(bytes.Join(extensions, nil))...)
	}
	return message16(clientHelloType, body)
}

func message16(kind byte, body []byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// records puts a message into records of that size.
func records(message []byte, size int) []byte {
	var out []byte
	for len(message) > 0 {
		n := min(size, len(message))
		out = append(out, handshakeRecord, 3, 1, byte(n>>8), byte(n))
		out = append(out, message[:n]...)
		message = message[n:]
	}
	return out
}

var errSeen = errors.New("seen")

// twin asks crypto/tls what it reads from the same bytes.
func twin(b []byte) (name string, alpn []string, ok bool) {
	_ = tls.Server(&oneWay{r: bytes.NewReader(b)}, &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name, alpn, ok = h.ServerName, h.SupportedProtos, true
			return nil, errSeen
		},
	}).HandshakeContext(context.Background())
	return name, alpn, ok
}

// said is what a client of crypto/tls sends first.
func said(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	w := &oneWay{r: bytes.NewReader(nil)}
	cfg.InsecureSkipVerify = true
	if err := tls.Client(w, cfg).HandshakeContext(t.Context()); err == nil || w.written.Len() == 0 {
		t.Fatalf("%d bytes, %v", w.written.Len(), err)
	}
	return w.written.Bytes()
}

type oneWay struct {
	r       *bytes.Reader
	written bytes.Buffer
}

func (o *oneWay) Read(p []byte) (int, error)     { return o.r.Read(p) }
func (o *oneWay) Write(p []byte) (int, error)    { return o.written.Write(p) }
func (*oneWay) Close() error                     { return nil }
func (*oneWay) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*oneWay) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*oneWay) SetDeadline(time.Time) error      { return nil }
func (*oneWay) SetReadDeadline(time.Time) error  { return nil }
func (*oneWay) SetWriteDeadline(time.Time) error { return nil }

// captured are hellos of openssl s_client 3.0: as it comes, TLS 1.2 alone, without a name, over several records, with an address.
func captured(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/openssl-*")
	if err != nil || len(files) != 5 {
		t.Fatalf("%v, %v", files, err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if out[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
