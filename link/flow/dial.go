package flow

import (
	"context"
	"errors"
	"net"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Dial opens a connection through a private endpoint for a part of this process, as if something had connected to the endpoint's address.
// It returns once the provider's agent has reached the service. The connection is the caller's to close; it breaks when the provider
// withdraws its approval. Unavailable when there is no way, Denied when the provider's agent refuses, Timeout when ctx ends first.
func Dial(ctx context.Context, o Opener, providers []plan.Peer, f tunnel.Flow) (net.Conn, error) {
	const op = "flow.Dial"
	stream, err := o.Open(ctx, providers, f)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "there is no way to its provider: "+fault.Message(err))
	}
	err = stream.WaitAccepted(ctx)
	if err == nil {
		return stream, nil
	}
	stream.Reset(tunnel.ResetPeer, "")
	if reset, ok := errors.AsType[*mux.ResetError](err); ok && reset.Remote {
		return nil, reset.Fault(op)
	}
	if ctx.Err() != nil {
		return nil, fault.New(op, fault.Timeout, "the service's side has not answered in time").Because(err)
	}
	return nil, fault.Wrap(op, fault.Unavailable, err, "the way to the service was lost")
}
