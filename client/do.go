package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	maxReply   = 64 << 20
	reads      = 3 // rounds over all addresses
	firstPause = 250 * time.Millisecond
	mostPause  = 5 * time.Second // of what a server may ask for by Retry-After
)

// request is one call of the API.
type request struct {
	method, path string
	query        url.Values
	body         any // JSON, or nil
	into         any // where the reply goes, or nil
}

// do sends the request to the address that answered last, then to the others.
func (c *Client) do(ctx context.Context, r request) error {
	for step := range strings.SplitSeq(r.path[1:], "/") {
		if step == "" || step == "." || step == ".." {
			return fault.Newf("client."+r.method, fault.Invalid, "a name in %s is empty or no name", r.path).Advise("names are a-z, 0-9 and '-'")
		}
	}
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return fault.Wrap("client."+r.method, fault.Internal, err, "")
		}
	}
	pause := firstPause
	for round := 1; ; round++ {
		wait, err := c.round(ctx, r, body)
		kind := fault.KindOf(err)
		if err == nil || r.method != http.MethodGet || round == reads || (kind != fault.Unavailable && kind != fault.Timeout) || ctx.Err() != nil {
			return err
		}
		fired, stop := c.clock.After(max(pause, min(wait, mostPause)))
		select {
		case <-ctx.Done():
			stop()
			return err
		case <-fired:
		}
		pause *= 2
	}
}

// round tries each address until one of them has been told the request.
func (c *Client) round(ctx context.Context, r request, body []byte) (wait time.Duration, err error) {
	first := int(c.last.Load())
	for i := range c.servers {
		at := (first + i) % len(c.servers)
		var sent bool
		sent, wait, err = c.one(ctx, c.servers[at], r, body)
		if sent {
			if err == nil {
				c.last.Store(int32(at))
			}
			return wait, err
		}
		if ctx.Err() != nil {
			return 0, err
		}
	}
	return wait, err
}

// one sends the request to one address; sent is false when it certainly was not.
func (c *Client) one(ctx context.Context, s server, r request, body []byte) (sent bool, wait time.Duration, err error) {
	u := *s.base
	u.Path, u.RawQuery = r.path, r.query.Encode()
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), rd)
	if err != nil {
		return false, 0, fault.Wrap("client."+r.method, fault.Internal, err, "")
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", c.agent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return !neverSent(err), 0, unreachable(ctx, s.base.Host, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return true, 0, unreachable(ctx, s.base.Host, err)
	case len(reply) > maxReply:
		return true, 0, fault.Newf("client."+r.method, fault.TooLarge, "the reply of %s has more than %d MiB", s.base.Host, maxReply>>20).Advise("ask for less")
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // a date or nothing: no wait asked for
		return true, time.Duration(seconds) * time.Second, problem(s.base.Host, resp, reply)
	case r.into == nil || resp.StatusCode == http.StatusNoContent:
		return true, 0, nil
	}
	if err := json.Unmarshal(reply, r.into); err != nil {
		return true, 0, fault.Newf("client."+r.method, fault.Unavailable, "%s does not answer like an Isthmus control plane", s.base.Host).
			Because(err).Advise("check the address: isthmus context list")
	}
	return true, 0, nil
}

// neverSent tells failures that happened before the first byte of the request: dialling and the handshake.
func neverSent(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || fault.KindOf(err) == fault.Unauthenticated {
		return true
	}
	var dns *net.DNSError
	return errors.As(err, &dns)
}

// unreachable puts words to a failure of the network.
func unreachable(ctx context.Context, host string, err error) error {
	op := "client.dial"
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.New(op, fault.Unavailable, "interrupted before "+host+" answered").Because(err)
	case fault.KindOf(err) == fault.Unauthenticated: // from verifying the server
		f, _ := errors.AsType[*fault.Error](err)
		return f
	case errors.As(err, &dns):
		return fault.Newf(op, fault.Unavailable, "the name of %s cannot be resolved", host).Because(err).Advise("check the server's address: isthmus context list")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault.Newf(op, fault.Unavailable, "nothing listens at %s", host).Because(err).
			Advise("check the address (isthmus context list) and that the server or relay runs")
	case errors.As(err, &timeout) && timeout.Timeout():
		return fault.Newf(op, fault.Timeout, "%s did not answer in time", host).Because(err).Advise("check that a firewall lets you reach it, then try again")
	}
	return fault.Newf(op, fault.Unavailable, "%s cannot be reached: %v", host, cause(err)).Because(err).Advise("check the address (isthmus context list) and try again")
}

// cause takes the method and URL away that net/http puts before an error.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// problem reads an RFC 9457 document back into the fault it was.
func problem(host string, resp *http.Response, body []byte) error {
	var doc struct {
		Detail   string `json:"detail"`
		Kind     string `json:"kind"`
		Next     string `json:"next"`
		Instance string `json:"instance"`
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // unreadable: not a problem document
	if media != "application/problem+json" || json.Unmarshal(body, &doc) != nil || doc.Kind == "" {
		return fault.Newf("client.reply", fault.Unavailable, "%s answered %s, and not as an Isthmus control plane does", host, resp.Status).
			Advise("check the address (isthmus context list), and whether a proxy stands in between")
	}
	kind := fault.ParseKind(doc.Kind)
	if kind == fault.Internal {
		words := "something went wrong inside the server"
		if doc.Instance != "" {
			words += fmt.Sprintf(" (%s)", doc.Instance)
		}
		return fault.New("client.reply", kind, words).Advise("the server's log has the details under this id")
	}
	return fault.New("client.reply", kind, doc.Detail).Advise("%s", doc.Next)
}
