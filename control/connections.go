package control

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Connections lists the connections of both sorts the principal has a side in: those it asked for and those it decides.
// Filter.Tenant is either side's tenant, Filter.Scope the consumer's network.
func (c *Control) Connections(ctx context.Context, p Principal, f Filter) ([]ConnectionView, error) {
	out := []ConnectionView{}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		list, err := tx.List(resource.KindPrivateEndpoint, storeFilter("", f.Scope))
		if err != nil {
			return err
		}
		services, err := tx.List(resource.KindService, noFilter)
		if err != nil {
			return err
		}
		targets, err := tx.References()
		if err != nil {
			return err
		}
		byUID := map[string]*resource.Service{}
		for _, o := range services {
			byUID[o.Head().Metadata.UID] = o.(*resource.Service)
		}
		for _, o := range list {
			e := o.(*resource.PrivateEndpoint)
			s := byUID[targets[e.Metadata.UID]]
			provider := ""
			if s != nil {
				provider = s.Metadata.Tenant
			}
			switch consumer := e.Metadata.Tenant; {
			case !p.whole() && p.Tenant != consumer && p.Tenant != provider:
			case f.Tenant != "" && f.Tenant != consumer && (f.Tenant != provider || !p.sees(provider)):
			case f.State != "" && f.State != e.Status.Connection.State:
			default:
				out = append(out, connectionView(p, e, s))
			}
		}
		return nil
	})
	return out, err
}

// connectionView shows the service as the consumer wrote it unless the principal is on the provider's side: an alias stays one.
func connectionView(p Principal, e *resource.PrivateEndpoint, s *resource.Service) ConnectionView {
	v := ConnectionView{
		Endpoint: e.Key().Path(), EndpointUID: e.Metadata.UID, Tenant: e.Metadata.Tenant, Network: e.Metadata.Network,
		Service: e.Spec.Service, RequestMessage: e.Spec.RequestMessage, Connection: e.Status.Connection,
	}
	if s != nil && p.sees(s.Metadata.Tenant) {
		v.Service = s.Key().Path()
		v.MayDecide = p.mayWrite("") == nil && v.Connection.State != resource.Disconnected
	}
	return v
}

// Decide moves a connection. Only the provider's tenant may (and an administrator of the deployment): the consumer's gets Denied,
// anybody else the NotFound of an endpoint that does not exist. Conflict for what cannot be decided any more. Both sides get the
// audit record; one of a decision that was denied goes to the tenant that tried, unless the principal had too many of them lately.
func (c *Control) Decide(ctx context.Context, p Principal, endpoint resource.Key, d resource.Decision, reason string) (ConnectionView, error) {
	op := "control.Decide"
	if err := checkReason(op, reason); err != nil {
		return ConnectionView{}, err
	}
	if endpoint.Kind != resource.KindPrivateEndpoint {
		return ConnectionView{}, fault.Newf(op, fault.Invalid, "a %s has no connection", endpoint.Kind).Advise("name a private endpoint as TENANT/NETWORK/NAME")
	}
	var view ConnectionView
	err := p.mayWrite(op)
	if err == nil {
		err = c.update(ctx, p.Who(), reason, func(w *work) (err error) {
			view, err = w.decide(p, endpoint, d, reason)
			return err
		})
	}
	if err != nil {
		c.recordDenied(ctx, p, endpoint, string(d), reason, err)
		return ConnectionView{}, err
	}
	c.metrics.changes.WithLabelValues(string(d)).Inc()
	c.log.Info("control: connection decided", "endpoint", endpoint.Path(), "decision", string(d), "who", p.Who(), "state", string(view.Connection.State))
	return view, nil
}

// recordDenied keeps what somebody tried and may not. A record is written once and for ever, so that nobody may fill the disk with what
// costs him nothing.
func (c *Control) recordDenied(ctx context.Context, p Principal, about resource.Key, what, reason string, why error) {
	k := fault.KindOf(why)
	if k != fault.Denied && k != fault.NotFound {
		return
	}
	if c.denied.Take(p.Who()) > 0 {
		c.metrics.unrecorded.Inc()
		c.log.Debug("control: a denied decision, one of very many, was not recorded", "who", p.Who(), "about", about.Path(), "decision", what)
		return
	}
	err := c.update(ctx, p.Who(), reason, func(w *work) error {
		return w.record(p.Tenant, "denied", about, nil, map[string]string{"decision": what, "kind": k.String()})
	})
	if err != nil {
		c.log.Warn("control: a denied decision could not be recorded", "who", p.Who(), "about", about.Path(), "error", err)
	}
}

func (w *work) decide(p Principal, endpoint resource.Key, d resource.Decision, reason string) (ConnectionView, error) {
	op := "control.Decide"
	o, err := w.get(endpoint)
	if err != nil {
		return ConnectionView{}, err
	}
	if o == nil {
		return ConnectionView{}, noSuch(op, endpoint)
	}
	before := o.(*resource.PrivateEndpoint)
	s, err := w.serviceOf(before)
	if err != nil {
		return ConnectionView{}, err
	}
	provider := ""
	if s != nil {
		provider = s.Metadata.Tenant
	}
	switch {
	case p.whole(), p.Tenant == provider:
	case p.Tenant == before.Metadata.Tenant:
		return ConnectionView{}, fault.New(op, fault.Denied, "the tenant that owns the service decides, not the one that asks for it").
			Advise("ask the owner of %s to decide; to withdraw the request, delete the endpoint", before.Spec.Service)
	default:
		return ConnectionView{}, noSuch(op, endpoint)
	}
	after := resource.Clone(before)
	if after.Status.Connection, err = before.Status.Connection.Apply(d, p.Who(), reason, w.now); err != nil {
		return ConnectionView{}, about(op, endpoint, err)
	}
	if err := w.put(before, after); err != nil {
		return ConnectionView{}, err
	}
	if err := w.recordBoth(string(d), endpoint, before.Metadata.Tenant, provider, before.Status.Connection, after.Status.Connection); err != nil {
		return ConnectionView{}, err
	}
	return connectionView(p, after, s), nil
}
