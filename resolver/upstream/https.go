package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const mediaType = "application/dns-message"

// fetcher asks one server over HTTPS. Its connections are net/http's.
type fetcher struct {
	client    http.Client
	transport http.Transport
	url       string
}

func (p *Pool) newFetcher(s Server) *fetcher {
	host := s.host()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if s.Address.Port() != 443 {
		host = fmt.Sprintf("%s:%d", host, s.Address.Port())
	}
	path, _ := url.Parse(s.Path) // was looked at by Validate
	h := &fetcher{url: (&url.URL{Scheme: "https", Host: host}).ResolveReference(path).String()}
	h.transport = http.Transport{
		// Wherever the name leads, the server is at its address; and no proxy learns what is asked.
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dialFrom(ctx, s.Address) },
		TLSClientConfig:        p.tlsConfig(s, "h2"),
		TLSHandshakeTimeout:    p.cfg.Timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		IdleConnTimeout:        p.cfg.IdleClose,
		MaxConnsPerHost:        8, // one does for HTTP/2; a server with HTTP/1.1 only gets no more than this
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: 16 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: p.cfg.Timeout},
	}
	h.client = http.Client{
		Transport:     &h.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h
}

func (h *fetcher) close() { h.transport.CloseIdleConnections() }

// overHTTPS asks by POST, on a goroutine of its own. The identifier is 0, so that caches on the way see equal questions as equal
// (RFC 8484 section 4.1).
func (p *Pool) overHTTPS(f *flight) {
	t := &f.try
	s := t.server
	ctx, cancel := context.WithCancel(p.ctx)
	t.fetch, t.on, t.mixed, t.cookied = cancel, true, false, false
	body := p.put(f, make([]byte, 0, 640), 0, shape{level: t.level, padded: true})
	gen := f.gen
	p.owned.Go(func() {
		defer cancel()
		msg, err := s.https.fetch(ctx, body)
		p.fetched(f, gen, msg, err)
	})
}

func (h *fetcher) fetch(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("Accept", mediaType)
	req.Header["User-Agent"] = nil // it would only tell who asks
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch kind := resp.Header.Get("Content-Type"); {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the server says %s", resp.Status)
	case kind != mediaType:
		return nil, fmt.Errorf("the server sent %q", kind)
	}
	return io.ReadAll(io.LimitReader(resp.Body, math.MaxUint16+1)) // one more, which read refuses
}

// fetched takes what came of a request, unless the try has ended meanwhile.
func (p *Pool) fetched(f *flight, gen uint32, msg []byte, err error) {
	var w work
	var r reading
	if err == nil && !r.read(msg) {
		p.metrics.dropped[dropMalformed].Inc()
		err = errNotAnAnswer
	}
	now := p.clk.Now()
	p.mu.Lock()
	if f.gen != gen {
		p.mu.Unlock()
		return
	}
	switch {
	case err != nil:
		p.fail(f, err, false, now, &w)
	case r.compare(f.sent) == foreign:
		p.metrics.dropped[dropQuestion].Inc()
		p.fail(f, errNotAnAnswer, false, now, &w)
	case f.try.simpler(&r):
		p.launch(f, now, &w)
	default:
		p.succeed(f, msg, &r, now, &w)
	}
	p.mu.Unlock()
	p.do(&w)
}
