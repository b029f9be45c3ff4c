package transport

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// shakyMemory is how long a peer that fell silent or could not be reached comes after the others.
const shakyMemory = 30 * time.Second

// Open returns a new stream to one of the peers, who are equals: a peer with a tunnel comes first, then each is tried in order, its
// direct address before the relays. One that gives no sign of life comes last, before it is given up. It waits at most Config.OpenTimeout
// for a tunnel to be made with each, and not longer than ctx. The peer has not accepted the stream yet; data may be written at once.
// The error is a fault that says what was tried.
func (tr *Transport) Open(ctx context.Context, peers []plan.Peer, f tunnel.Flow) (*mux.Stream, error) {
	const op = "transport.Open"
	if len(peers) == 0 {
		return nil, fault.New(op, fault.Unavailable, "no agent provides this service").
			Advise("join an agent to the provider's network, or look whether it is still registered")
	}
	var doubted *passage
	for _, pp := range peers {
		t := tr.peer(identity.ID(pp.ID)).ready(pp.Direct) //nolint:contextcheck // attempts and tunnels belong to Run, not to the caller who happens to start them
		if t == nil {
			continue
		}
		if t.session.InDoubt() {
			if doubted == nil {
				doubted = t
			}
			continue
		}
		if s, err := t.session.Open(ctx, f); err == nil {
			return s, nil
		} else if k := fault.KindOf(err); k == fault.Invalid || ctx.Err() != nil {
			return nil, err
		}
	}
	firm, shaky := tr.sort(peers)
	var first error
	try := func(peers []plan.Peer) *mux.Stream {
		for _, pp := range peers {
			s, err := tr.open(ctx, tr.peer(identity.ID(pp.ID)), pp.Direct, f)
			if err == nil {
				return s
			}
			if first == nil {
				first = err
			}
			if ctx.Err() != nil {
				break
			}
		}
		return nil
	}
	if s := try(firm); s != nil {
		return s, nil
	}
	if doubted != nil && ctx.Err() == nil { // the doubt may be wrong
		if s, err := doubted.session.Open(ctx, f); err == nil {
			return s, nil
		}
	}
	if ctx.Err() == nil {
		if s := try(shaky); s != nil {
			return s, nil
		}
	}
	if _, ok := errors.AsType[*fault.Error](first); !ok {
		first = fault.Wrap(op, fault.Unavailable, first, "the flow could not be opened")
	}
	return nil, first
}

// open makes a stream to one peer, and a tunnel for it if there is none.
func (tr *Transport) open(ctx context.Context, p *peer, direct string, f tunnel.Flow) (s *mux.Stream, err error) {
	for range 2 { // a tunnel may end between being found and being used, once
		var t *passage
		if t, err = p.reach(ctx, direct); err == nil {
			if s, err = t.session.Open(ctx, f); err == nil {
				return s, nil
			}
		}
		if t == nil || ctx.Err() != nil || t.usable() {
			break
		}
	}
	return nil, err
}

// sort parts the peers of which nothing bad is known from the others, each in their order.
func (tr *Transport) sort(peers []plan.Peer) (firm, shaky []plan.Peer) {
	if len(peers) == 1 {
		if tr.peer(identity.ID(peers[0].ID)).shaky() {
			return nil, peers
		}
		return peers, nil
	}
	for _, pp := range peers {
		if tr.peer(identity.ID(pp.ID)).shaky() {
			shaky = append(shaky, pp)
		} else {
			firm = append(firm, pp)
		}
	}
	return firm, shaky
}

// shaky tells whether the peer is in doubt, fell silent or could not be reached lately.
func (p *peer) shaky() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, _ := p.pick(); t != nil {
		return t.session.InDoubt()
	}
	now := p.tr.clk.Now()
	return p.remembers(now, shakyMemory) || !p.silentAt.IsZero() && now.Sub(p.silentAt) < shakyMemory
}
