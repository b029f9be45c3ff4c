package virtualdevice

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// device is one device that runs.
type device struct {
	host *Host
	name string
	id   identity
	log  *slog.Logger

	cancel context.CancelFunc
	done   chan struct{}  // closed when nothing of it runs any more
	all    sync.WaitGroup // of visits; Add only by run

	mu        sync.Mutex // guards the fields below
	streams   map[string]string
	most      int
	wrong     []string // of the settings
	visits    map[*visit]struct{}
	connected bool
	trouble   string            // with the hub
	dead      map[string]string // addresses that did not answer last, by stream
}

// visit is a session, from the hub's request on.
type visit struct {
	stream  string
	address string
	cancel  context.CancelFunc
	gone    chan struct{}
}

// set makes these its streams, and cuts sessions that lead where no stream does any more. They are over when it returns.
func (d *device) set(streams map[string]string, most int, wrong []string) {
	d.mu.Lock()
	d.streams, d.most, d.wrong = streams, most, wrong
	var cut []*visit
	for v := range d.visits {
		if streams[v.stream] != v.address {
			v.cancel()
			cut = append(cut, v)
		}
	}
	maps.DeleteFunc(d.dead, func(name, _ string) bool { return streams[name] == "" })
	d.mu.Unlock()
	for _, v := range cut {
		<-v.gone
	}
}

// run keeps the device connected until ctx ends, and returns when its sessions are over too.
func (d *device) run(ctx context.Context) {
	defer close(d.done)
	defer d.all.Wait()
	d.host.keep(ctx, &d.id, d.log, d.note, func(_ context.Context, c *client) func(topic, payload []byte) {
		return func(topic, _ []byte) { d.requested(ctx, c, string(topic)) } // a session outlives the connection
	}, streamRequests, streamReplies)
}

func (d *device) note(connected bool, trouble string) {
	d.mu.Lock()
	changed := d.connected != connected || d.trouble != trouble
	d.connected, d.trouble = connected, trouble
	d.mu.Unlock()
	if changed {
		d.host.stir()
	}
}

// requested takes what the hub sent on its topic of streams.
func (d *device) requested(ctx context.Context, c *client, topic string) {
	a, err := readRequest(topic)
	if a.rid == "" {
		d.log.Warn("virtual device: what came cannot be answered", "err", err)
		return
	}
	if err != nil {
		d.reject(ctx, c, a, err)
		return
	}
	d.mu.Lock()
	address, ok := d.streams[a.name]
	full := len(d.visits) >= d.most
	var v *visit
	if ok && !full {
		v = &visit{stream: a.name, address: address, gone: make(chan struct{})}
		ctx, v.cancel = context.WithCancel(ctx)
		d.visits[v] = struct{}{}
	}
	d.mu.Unlock()
	switch {
	case !ok:
		d.reject(ctx, c, a, fault.Newf("virtualdevice.requested", fault.Denied, "no stream %s is in the device's settings", quote(a.name)))
	case full:
		d.reject(ctx, c, a, fault.Newf("virtualdevice.requested", fault.Exhausted, "the device has %d sessions, as many as its settings allow", d.most))
	default:
		d.host.stir()
		d.all.Go(func() { d.visit(ctx, c, a, v) })
	}
}

// reject says no on a goroutine of its own: whoever reads the connection must not wait to write it.
func (d *device) reject(ctx context.Context, c *client, a asked, why error) {
	d.log.Warn("virtual device: stream rejected", "stream", clip(a.name), "err", why)
	select {
	case d.host.saying <- struct{}{}:
	default:
		return // many wait to be told no; the hub finds out by itself
	}
	d.all.Go(func() {
		defer func() { <-d.host.saying }()
		if ctx.Err() == nil {
			_ = c.publish(streamReject+a.rid, nil) // the reader tells when it broke
		}
	})
}

// visit joins a stream to its address.
func (d *device) visit(ctx context.Context, c *client, a asked, v *visit) {
	defer func() {
		v.cancel()
		d.mu.Lock()
		delete(d.visits, v)
		d.mu.Unlock()
		close(v.gone)
		d.host.stir()
	}()
	target, err := dialTarget(ctx, v.address)
	d.found(v, err)
	if err != nil {
		d.log.Warn("virtual device: stream rejected", "stream", v.stream, "err", err)
		_ = c.publish(streamReject+a.rid, nil) // the reader tells when it broke
		return
	}
	if err := c.publish(streamAccept+a.rid, nil); err != nil {
		_ = target.Close()
		return
	}
	stream, err := d.host.come(ctx, &d.id, a)
	if err != nil {
		_ = target.Close()
		if ctx.Err() == nil {
			d.log.Warn("virtual device: a stream did not come about", "stream", v.stream, "err", err)
		}
		return
	}
	begun := d.host.clk.Now()
	in, out := carry(ctx, stream, target)
	d.log.Info("virtual device: session ended", "stream", v.stream, "address", v.address, "in", in, "out", out, "for", d.host.clk.Now().Sub(begun).Round(time.Millisecond).String())
}

// found notes whether an address answered.
func (d *device) found(v *visit, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && d.streams[v.stream] == v.address {
		d.dead[v.stream] = fault.Message(err)
	} else {
		delete(d.dead, v.stream)
	}
}

func (d *device) status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Name: d.name, Device: d.id.client(), Hub: d.id.hub, Enabled: true, Connected: d.connected, Sessions: len(d.visits)}
	problems := slices.Clone(d.wrong)
	if d.trouble != "" {
		problems = append(problems, d.trouble)
	}
	for _, name := range slices.Sorted(maps.Keys(d.dead)) {
		problems = append(problems, "stream "+name+": "+d.dead[name])
	}
	s.Problem = strings.Join(problems, "; ")
	return s
}
