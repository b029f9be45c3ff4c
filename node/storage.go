package node

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	hubhttp "github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/storage/httpdoor"
)

// accounts are the blob services of a hub process: they share the hubs' HTTPS door, sides and certificates.
type accounts struct {
	server *storage.Server
	local  http.Handler // of the local socket
	far    http.Handler
}

func newAccounts(ctx context.Context, cfg HubConfig, hubs *hub.Server, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*accounts, error) {
	own := cfg.Storage
	own.Dir, own.Database, own.Workloads = cfg.DataDir, cfg.Database, cfg.workloads.verifier()
	server, err := storage.New(ctx, own, log, clk, reg)
	if err != nil {
		return nil, err
	}
	a := &accounts{server: server}
	a.local = httpdoor.New(httpdoor.Config{Arrive: httpdoor.Named(server), Local: true}, log, clk)
	a.far = httpdoor.New(httpdoor.Config{
		Arrive:  a.arrive,
		Refused: func(r *http.Request, who string, err error) { hubhttp.ArrivalOf(r.Context()).Conn.Refuse(who, err) },
	}, log, clk)
	return a, nil
}

// arrive finds the account, and says what somebody has to prove who came from a side that is closed.
func (a *accounts) arrive(r *http.Request) (httpdoor.Arrival, error) {
	op := "node.storage"
	from := hubhttp.ArrivalOf(r.Context())
	peer := peerOf(from.Conn.Side)
	if from.Refused != nil {
		return httpdoor.Arrival{}, fault.Newf(op, fault.Denied, "this request is not authorized to perform this operation: %s came through no approved endpoint of %s, which allows no public network access",
			peer, from.Hub.HostName()).Advise("%s", fault.Next(from.Refused)).Because(storage.NetworkRefused)
	}
	account, ok := a.server.Account(from.Hub.ID())
	if !ok {
		return httpdoor.Arrival{}, fault.Newf(op, fault.Unavailable, "%s is not served yet", from.Hub.HostName()).Advise("try again in a moment")
	}
	out := httpdoor.Arrival{Account: account, Peer: peer}
	if from.Limited {
		out.Admits = func(c storage.Claim) error {
			if from.Hub.Trusts(c.Workload) {
				return nil
			}
			err := from.Hub.NotTrusted(op, c.Workload)
			return fault.Newf(op, fault.Denied, "%s: %s came through no approved endpoint", fault.Message(err), peer).Advise("%s", fault.Next(err)).Because(storage.NetworkRefused)
		}
	}
	return out, nil
}

// peerOf is the address of whoever asks, as far as it is known.
func peerOf(s hub.Side) netip.Addr {
	if s.Peer.IsValid() {
		return s.Peer.Addr().Unmap()
	}
	return s.Via.Addr().Unmap()
}

// ServeHTTP answers what the hubs' door was asked for a blob service.
func (a *accounts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if hubhttp.ArrivalOf(r.Context()).Conn == nil {
		a.local.ServeHTTP(w, r)
		return
	}
	a.far.ServeHTTP(w, r)
}

// carryOut makes the server serve the blob services of a plan.
func (a *accounts) carryOut(ctx context.Context, hubs []plan.Hub) error {
	var out []storage.Spec
	for _, h := range hubs {
		if h.Type == resource.TypeBlob {
			out = append(out, storage.Spec{ID: h.ID, Name: h.Name, HostNames: h.HostNames, Containers: h.Containers, KeysOff: h.KeysOff, Assignments: h.Assignments})
		}
	}
	return a.server.SetAccounts(ctx, out)
}
