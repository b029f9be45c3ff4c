package processes

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// Web speaks HTTPS to a hub process as somebody does who has no SDK. Names in URLs are those of the hubs.
type Web struct{ http.Client }

// Reply is an answer, whatever its status.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Code is the name or number of an error in an answer's header, as hubs, provisioning services and blob stores write it.
func (r Reply) Code() string {
	for _, name := range []string{"iothub-errorcode", "x-ms-error-code"} {
		if c := r.Header.Get(name); c != "" {
			return c
		}
	}
	return ""
}

// Web returns a client that dials from source, 127.0.0.1 when it is empty. certificates are shown when asked for. The caller closes it with
// CloseIdleConnections.
func (h *Hub) Web(source string, certificates ...tls.Certificate) *Web {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	if source != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	cfg := h.TLS("")
	cfg.Certificates = certificates
	return &Web{http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: cfg, MaxIdleConnsPerHost: 64, TLSHandshakeTimeout: 30 * time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", h.HTTPS)
		},
	}}}
}

// Ask sends a request with a token, unless it is empty, and reads the whole answer. header is pairs of names and values.
func (w *Web) Ask(ctx context.Context, method, url, token string, body []byte, header ...string) (Reply, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return Reply{}, err
	}
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := w.Do(r)
	if err != nil {
		return Reply{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return Reply{res.StatusCode, res.Header, b}, err
}
