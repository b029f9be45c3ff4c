package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/isthmus-io/isthmus/fault"
)

// DialFunc dials an address given as host:port, as (*net.Dialer).DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

const (
	dialTimeout  = 10 * time.Second // for one TCP connection, names included
	proxyTimeout = 10 * time.Second // for the proxy's answer to CONNECT
)

// DialProxy returns how to dial out. With proxyURL ("http://user:password@proxy:3128", or https) every connection goes through that
// HTTP proxy by CONNECT; user and password are sent as Basic authorisation (RFC 9110 11.1, 9.3.6). With no proxyURL and
// fromEnvironment, HTTPS_PROXY and NO_PROXY decide for each address. Otherwise it dials directly.
//
// The connection returned is a *net.TCPConn when there is no proxy. A proxyURL that cannot be used is fault.Invalid; errors of the
// function returned are faults that name the address (never the password) and what to do.
func DialProxy(proxyURL string, fromEnvironment bool) (DialFunc, error) {
	choose := func(string) (*url.URL, error) { return nil, nil }
	switch {
	case proxyURL != "":
		u, err := url.Parse(proxyURL)
		if err != nil {
			// The cause quotes the URL, password and all, so it goes nowhere.
			return nil, fault.New("transport.DialProxy", fault.Invalid, "the proxy address is not a URL").
				Advise("write it as http://proxy.example:3128 or http://user:password@proxy.example:3128")
		}
		if err := checkProxy(u); err != nil {
			return nil, err
		}
		choose = func(string) (*url.URL, error) { return u, nil }
	case fromEnvironment:
		decide := httpproxy.FromEnvironment().ProxyFunc()
		choose = func(address string) (*url.URL, error) {
			u, err := decide(&url.URL{Scheme: "https", Host: address})
			if err != nil {
				return nil, fault.New("transport.DialProxy", fault.Invalid, "HTTPS_PROXY in the environment is not a URL").
					Advise("write it as http://proxy.example:3128, or unset it")
			}
			if u == nil {
				return nil, nil
			}
			return u, checkProxy(u)
		}
	}
	plain := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		proxy, err := choose(address)
		if err != nil {
			return nil, err
		}
		if proxy == nil {
			c, err := plain.DialContext(ctx, network, address)
			if err != nil {
				return nil, dialFault("transport.Dial", err, address)
			}
			return c, nil
		}
		return dialThrough(ctx, plain, proxy, address)
	}, nil
}

func checkProxy(u *url.URL) error {
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return fault.Newf("transport.DialProxy", fault.Invalid, "%q is no HTTP proxy", u.Redacted()).
			Advise("write it as http://proxy.example:3128; SOCKS is not supported")
	}
	return nil
}

func dialFault(op string, err error, address string) error {
	kind := fault.Unavailable
	words := "cannot connect to " + address
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		kind, words = fault.Timeout, address+" did not answer"
	}
	next := "check that " + address + " is right and that this machine may connect to it (firewall, proxy)"
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		next = "check that the name in " + address + " is right and that this machine's DNS knows it"
	}
	return fault.New(op, kind, words).Advise("%s", next).Because(err)
}

// dialThrough opens a tunnel to address by CONNECT (RFC 9110 9.3.6).
func dialThrough(ctx context.Context, plain *net.Dialer, proxy *url.URL, address string) (_ net.Conn, err error) {
	const op = "transport.DialProxy"
	host, port := proxy.Hostname(), proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
	}
	at := net.JoinHostPort(host, port)
	tcp, err := plain.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, dialFault(op, err, at)
	}
	c := tcp
	stop := context.AfterFunc(ctx, func() { _ = tcp.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = fault.Wrap(op, fault.Timeout, context.Cause(ctx), "gave up waiting for the proxy "+at)
		}
		if err != nil {
			_ = tcp.Close()
		}
	}()
	_ = tcp.SetDeadline(time.Now().Add(proxyTimeout))
	if proxy.Scheme == "https" {
		t := tls.Client(c, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, fault.New(op, fault.Unavailable, "no TLS with the proxy "+at).
				Advise("check that the proxy speaks https and that this machine trusts its certificate; most proxies are http:// ones").Because(err)
		}
		c = t
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{"User-Agent": {"isthmus"}}}
	if u := proxy.User; u != nil {
		pw, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+pw)))
	}
	if err := req.Write(c); err != nil {
		return nil, dialFault(op, err, at)
	}
	in := bufio.NewReaderSize(&limitedConn{Conn: c, left: 64 << 10}, 4<<10)
	resp, err := http.ReadResponse(in, req) //nolint:bodyclose // a reply to CONNECT has none: what follows is the tunnel
	if err != nil {
		return nil, fault.New(op, fault.Unavailable, "the proxy "+at+" did not answer as an HTTP proxy does").
			Advise("check the proxy's address and port").Because(err)
	}
	if err := connectFault(resp, at, address); err != nil {
		return nil, err
	}
	_ = tcp.SetDeadline(time.Time{})
	if in.Buffered() > 0 {
		early, _ := in.Peek(in.Buffered())
		return &earlyConn{Conn: c, early: early}, nil
	}
	return c, nil
}

func connectFault(resp *http.Response, at, address string) error {
	const op = "transport.DialProxy"
	switch {
	case resp.StatusCode/100 == 2: // any 2xx, RFC 9110 9.3.6
		return nil
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return fault.New(op, fault.Unauthenticated, "the proxy "+at+" wants a user name and password").
			Advise("put them into the proxy's URL: http://user:password@%s; only Basic is supported", at)
	case resp.StatusCode >= 500:
		return fault.Newf(op, fault.Unavailable, "the proxy %s cannot connect to %s (status %d)", at, address, resp.StatusCode).
			Advise("check that %s is right and runs, and that the proxy can resolve and reach it", address)
	}
	return fault.Newf(op, fault.Denied, "the proxy %s refuses connections to %s (status %d)", at, address, resp.StatusCode).
		Advise("ask its administrator to allow CONNECT to %s", address)
}

// limitedConn ends a reply header that does not end.
type limitedConn struct {
	net.Conn
	left int
}

func (l *limitedConn) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("the reply header is too long")
	}
	n, err := l.Conn.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// earlyConn gives back what came right behind the proxy's reply.
type earlyConn struct {
	net.Conn
	early []byte
}

func (e *earlyConn) Read(p []byte) (int, error) {
	if len(e.early) > 0 {
		n := copy(p, e.early)
		e.early = e.early[n:]
		return n, nil
	}
	return e.Conn.Read(p)
}
