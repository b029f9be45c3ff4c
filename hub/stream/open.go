package stream

import (
	"context"
	"net"
	"net/url"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// Request asks for a stream.
type Request struct {
	To       hub.Name
	Name     string
	Host     string        // the authority of the addresses that both ends are given
	Connect  time.Duration // how long to wait for a device that does not listen
	Response time.Duration // how long it may take to answer; 0 is 60 s

	By   string // who asks: what hub.AuthorizeStream says
	From string // his address, for the record
	// Stands tells whether who asks may still have a stream; nil is for ever.
	Stands func(context.Context) bool

	inside bool // somebody in this process, who has seen to it that it may be
}

// Answer is what became of a request.
type Answer struct {
	Accepted bool
	URL      string // wss; of an accepted stream
	Token    string // for the one who asked
}

// Path is the first segment of the addresses.
const Path = "bridges"

// Open asks a device for a stream. Faults are those of hub.RequestStream; Denied (code.Forbidden) without a grant, where one is needed; and
// Exhausted (429001) when the hub has too many streams, made too many lately, or carried its share of the day.
func (g *Gateway) Open(ctx context.Context, h *hub.Hub, r Request) (Answer, error) {
	b, err := g.ask(ctx, h, r)
	if err != nil || b == nil {
		return Answer{}, err
	}
	return Answer{true, b.address(), g.token(b, ofService)}, nil
}

// Dial asks a device for a stream whose other end is in this process, and returns it once the device has come. The connection has CloseWrite
// when the device's can be closed one way at a time; a deadline that passes ends it. r.By is for the log alone: who calls has seen to it
// that somebody may come in. Denied when the device said no; else the faults of Open.
func (g *Gateway) Dial(ctx context.Context, h *hub.Hub, r Request) (net.Conn, error) {
	op := "stream.Dial"
	r.inside, r.By = true, ""
	b, err := g.ask(ctx, h, r)
	switch {
	case err != nil:
		return nil, err
	case b == nil:
		return nil, fault.Newf(op, fault.Denied, "%s said no to the stream %s", r.To.Words(), r.Name).Advise("look at what the device allows")
	}
	select {
	case <-b.met:
		return b.near(), nil
	case <-b.over:
		return nil, fault.Newf(op, fault.Unavailable, "%s accepted the stream %s and did not come for it", r.To.Words(), r.Name).
			Advise("it has to reach %s, as it reaches the hub by HTTPS", b.address())
	case <-ctx.Done():
		b.finish(session.Unreachable, "")
		return nil, fault.Newf(op, fault.Timeout, "%s accepted the stream %s and did not come for it in time", r.To.Words(), r.Name).Because(context.Cause(ctx)).
			Advise("it has to reach %s, as it reaches the hub by HTTPS", b.address())
	}
}

// ask makes a bridge and asks the device; nil when it refused.
func (g *Gateway) ask(ctx context.Context, h *hub.Hub, r Request) (*bridge, error) {
	if err := hub.CheckStreamName(r.Name); err != nil {
		return nil, err
	}
	b, err := g.begin(h, r)
	if err != nil {
		return nil, err
	}
	accepted, err := h.RequestStream(ctx, r.To, hub.StreamRequest{Name: r.Name, URL: b.address(), Token: g.token(b, ofDevice)}, r.Connect, r.Response)
	if err != nil {
		b.finish(session.Unreachable, fault.Message(err))
		return nil, err
	}
	if accepted == nil {
		b.finish(session.RejectedThere, "the device said no")
		return nil, nil
	}
	stands := []func(context.Context) bool{accepted.Stands}
	if r.Stands != nil {
		stands = append(stands, r.Stands)
	}
	b.accepted(g.clock.Now().Add(g.cfg.Meet), stands...)
	g.log.Info("hub: stream opened", "hub", h.Name(), "device", r.To.String(), "stream", r.Name, "by", r.By, "bridge", b.id)
	return b, nil
}

func (b *bridge) address() string {
	return (&url.URL{Scheme: "wss", Host: b.request.Host, Path: "/" + Path + "/" + b.id}).String()
}

// near is the service's end for somebody in this process: the device's connection itself, so that whoever reads slowly holds the device up.
func (b *bridge) near() net.Conn {
	b.mu.Lock()
	device := b.ends[ofDevice]
	b.mu.Unlock()
	c := &nearConn{device, b}
	if w, ok := device.(closeWriter); ok {
		return &nearHalf{c, w}
	}
	return c
}

type nearConn struct {
	net.Conn
	bridge *bridge
}

func (c *nearConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bridge.toService.Add(int64(n))
	return n, err
}

func (c *nearConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bridge.toDevice.Add(int64(n))
	return n, err
}

// Close ends the stream.
func (c *nearConn) Close() error {
	c.bridge.finish(session.EndClosed, "")
	return nil
}

type nearHalf struct {
	*nearConn
	closeWriter
}
