package flow

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Given is a connection which somebody else accepted and decided about, and which goes the way of an endpoint's.
type Given struct {
	Opener    Opener
	Clock     clock.Clock
	Providers []plan.Peer
	Flow      tunnel.Flow
	First     []byte // read from the connection already; goes first
	Meter     Meter  // nil: no limit of bytes

	// Idle is after how long without a byte in either direction the flow is reset, give or take an eighth; 0: never.
	Idle time.Duration
}

// Carry opens a stream and passes bytes both ways until the flow has ended, as Endpoints do; then socket is closed. When ctx ends the
// flow is cut. Sent counts the bytes from the client, received those to it. The fault tells why nothing was carried; a flow that
// began and broke later is none.
func (g *Given) Carry(ctx context.Context, socket *net.TCPConn) (sent, received uint64, err error) {
	const op = "flow.Carry"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &flow{count: &counters{}, socket: socket, cancel: cancel, clk: g.Clock, ctx: ctx}
	f.meter.Store(meterOf(g.Meter))
	f.info.Client, f.info.Port = g.Flow.Client, g.Flow.Port
	stop := context.AfterFunc(ctx, func() { f.sever(tunnel.ResetShuttingDown, "") })
	defer stop()
	stream, err := g.Opener.Open(ctx, g.Providers, g.Flow)
	if err != nil {
		f.sever(tunnel.ResetUnreachable, "")
		return 0, 0, fault.Wrap(op, fault.Unavailable, err, "there is no way to its provider: "+fault.Message(err))
	}
	if !f.attachStream(stream) {
		return 0, 0, nil
	}
	if err := f.begin(g.First); err != nil {
		f.sever(tunnel.ResetPeer, "")
		reset, _ := errors.AsType[*mux.ResetError](err)
		return 0, 0, refusal(op, reset)
	}
	if g.Idle > 0 {
		var watching sync.WaitGroup
		over, end := context.WithCancel(ctx)
		defer watching.Wait()
		defer end()
		watching.Go(func() { f.watchIdle(over, g.Idle) })
	}
	reset := f.forward()
	stop()
	i := f.snapshot()
	if reset != nil && reset.Remote && i.Received == 0 && reset.Code != tunnel.ResetPeer {
		err = refusal(op, reset)
	}
	return i.Sent + uint64(len(g.First)), i.Received, err
}

// watchIdle severs the flow when no byte has passed for that long, until ctx ends.
func (f *flow) watchIdle(ctx context.Context, idle time.Duration) {
	const parts = 8
	last, quiet := Info{}, 0
	for quiet < parts {
		due, stop := f.clk.After(max(idle/parts, 1))
		select {
		case <-due:
		case <-ctx.Done():
			stop()
			return
		}
		now := f.snapshot()
		if quiet++; now.Sent != last.Sent || now.Received != last.Received {
			quiet = 0
		}
		last = now
	}
	f.sever(tunnel.ResetPeer, "")
}

func refusal(op string, reset *mux.ResetError) error {
	if reset == nil {
		return nil
	}
	return fault.New(op, fault.Unavailable, refusalWords(reset.Code, reset.Message))
}

// begin sends what was read before there was a stream.
func (f *flow) begin(first []byte) error {
	for len(first) > 0 {
		n, err := f.pass(len(first))
		if err != nil {
			return err
		}
		if _, err := f.stream.Write(first[:n]); err != nil {
			return err
		}
		first = first[n:]
	}
	return nil
}
