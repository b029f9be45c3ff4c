package membership

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// caller speaks to the control plane at the first of its addresses that answers.
type caller struct {
	proxy   func(*http.Request) (*url.URL, error)
	tls     *tls.Config
	servers []string
	timeout time.Duration
	clock   clock.Clock
	offsets offsets

	mu     sync.Mutex // guards the field below
	client *http.Client
}

func newCaller(cfg Config, servers []string, conf *tls.Config, clk clock.Clock) (*caller, error) {
	c := &caller{tls: conf, servers: servers, timeout: cfg.timeout(), clock: clk}
	switch cfg.Proxy {
	case "":
		c.proxy = http.ProxyFromEnvironment
	case "none":
	default:
		u, err := url.Parse(cfg.Proxy)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, fault.New("membership.proxy", fault.Invalid, "the proxy's address cannot be read"). // not shown: it may hold a password
															Advise("write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
		}
		c.proxy = http.ProxyURL(u)
	}
	c.redial()
	return c, nil
}

// redial lets later requests use new connections, with the certificate of now. Requests under way keep theirs.
func (c *caller) redial() {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	fresh := &http.Client{
		Transport: &http.Transport{
			Proxy: c.proxy, DialContext: d.DialContext, TLSClientConfig: c.tls.Clone(), ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: c.timeout, IdleConnTimeout: 2 * time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.mu.Lock()
	old := c.client
	c.client = fresh
	c.mu.Unlock()
	if old != nil {
		old.CloseIdleConnections()
	}
}

func (c *caller) close() { c.now().CloseIdleConnections() }

func (c *caller) now() *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

// call posts in and reads the reply into out, which may be nil.
func (c *caller) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fault.Wrap("membership.call", fault.Internal, err, "")
	}
	return c.each(ctx, func(server string) (answered bool, err error) {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		resp, err := c.do(ctx, http.MethodPost, server, path, body)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			return refusal(resp)
		}
		if out == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply))
			return true, err
		}
		if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(out); err != nil {
			return true, fault.New("membership.call", fault.Unavailable, "the server's reply ended early or cannot be read").Because(err)
		}
		return true, nil
	})
}

// open gets a stream. The caller closes the body; nothing but the context bounds its life.
func (c *caller) open(ctx context.Context, path string) (*http.Response, error) {
	var open *http.Response
	err := c.each(ctx, func(server string) (answered bool, err error) {
		resp, err := c.do(ctx, http.MethodGet, server, path, nil)
		if err != nil {
			return false, err
		}
		if resp.StatusCode != http.StatusOK {
			defer resp.Body.Close()
			return refusal(resp)
		}
		open = resp
		return true, nil
	})
	return open, err
}

func (c *caller) do(ctx context.Context, method, server, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.ask(req)
}

// ask sends a request, and learns from any reply what time it is there.
func (c *caller) ask(req *http.Request) (*http.Response, error) {
	sent := c.clock.Now()
	resp, err := c.now().Do(req)
	if err == nil {
		c.offsets.heard(resp.Header, sent, c.clock.Now())
	}
	return resp, err
}

// each asks the servers in order until one answers. When none does, the fault names them all.
func (c *caller) each(ctx context.Context, ask func(server string) (answered bool, err error)) error {
	op := "membership.call"
	var tried []string
	var causes []error
	for _, s := range c.servers {
		answered, err := ask(s)
		if answered {
			return err
		}
		if ctx.Err() != nil {
			return fault.Wrap(op, fault.Timeout, ctx.Err(), "gave up waiting for the control plane")
		}
		causes = append(causes, err)
		tried = append(tried, s+" ("+reason(err)+")")
	}
	for _, err := range causes { // a server that is not the right one says more than one that is away
		if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind != fault.Unavailable {
			return f.Because(errors.Join(causes...))
		}
	}
	return fault.New(op, fault.Unavailable, "the control plane cannot be reached; tried "+strings.Join(tried, ", ")).
		Because(errors.Join(causes...)).
		Advise("check that this machine may dial these addresses, or name the proxy it must use")
}

// reason puts a failure to connect into few words.
func reason(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return fault.Message(f)
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name " + d.Name + " is not known"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "what answers there speaks no TLS"
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no.Error()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}

// problem is the body of a refusal (RFC 9457), as far as it matters here.
type problem struct {
	Detail string `json:"detail"`
	Kind   string `json:"kind"`
	Next   string `json:"next"`
}

// refusal reads why the answer is no. An answer that does not come from the control plane, such as a proxy's 502, counts as none.
func refusal(resp *http.Response) (answered bool, err error) {
	op := "membership.call"
	var p problem
	ct, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if ct != "application/problem+json" || json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p) != nil {
		return false, fault.Newf(op, fault.Unavailable, "answered %s without saying why", resp.Status)
	}
	kind := fault.ParseKind(p.Kind)
	if kind == fault.Unavailable {
		return false, fault.New(op, kind, p.Detail).Advise("%s", p.Next)
	}
	if kind == fault.Internal { // so that the words are kept: the log with the details is the server's
		return true, fault.New(op, fault.Unavailable, "the control plane failed: "+p.Detail).Advise("try again; the server's log has the details")
	}
	return true, fault.New(op, kind, p.Detail).Advise("%s", p.Next)
}
