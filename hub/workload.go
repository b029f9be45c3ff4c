package hub

import (
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
)

// EnterTrusted is Enter for the doors at which a trusted workload may come in from the public side of a service that has closed it: those
// of event hubs, of a hub's built-in endpoint and of blobs. Doors of devices ask Enter. limited says that the peer has come in that way: it
// is nobody until it has shown the token of a workload that the service trusts ([Hub.Trusts]), and its connection must not outlive that.
// Refusals are Enter's.
func (s *Server) EnterTrusted(side Side, host string) (h *Hub, limited bool, err error) {
	h, err = s.Enter(side, host)
	if err == nil || !side.IsPublic() {
		return h, false, err
	}
	closed, ok := s.ByHost(host)
	if !ok || closed.Public() || closed.Provisioning() || len(closed.plan.Load().Trusted) == 0 {
		return nil, false, err
	}
	if other, known := s.ByHost(side.ServerName); known && other != closed {
		return nil, false, err
	}
	return closed, true, nil
}

// Trusts tells whether a workload, a SPIFFE id, may come in from the public side although that is closed.
func (h *Hub) Trusts(workload string) bool {
	return workload != "" && slices.Contains(h.plan.Load().Trusted, workload)
}

// NotTrusted is what a peer is told that came by [Server.EnterTrusted] and shows anything but the token of a trusted workload. who is the
// workload it has shown, empty for a key or nothing.
func (h *Hub) NotTrusted(op, who string) error {
	words := "this service allows no public network access, and from there lets in only trusted workloads with their identity: a key is not enough"
	if who != "" {
		words = "this service allows no public network access, and the workload " + shorten(who) + " is not among those it trusts"
	}
	return fault.New(op, fault.Denied, words).Advise("connect through a private endpoint, or name the workload in spec.trustedWorkloads of the service")
}

// KeysOff tells whether shared keys are switched off: then no policy's key and no token made with one opens the service, while devices go on
// with their own.
func (h *Hub) KeysOff() bool { return h.plan.Load().KeysOff }

// keysAreOff is what the holder of a policy's key is told.
func (h *Hub) keysAreOff(op string) error {
	return fault.New(op, fault.Unauthenticated, "shared keys are switched off for this service: use an identity").
		Advise("give the workload a role by a RoleAssignment, or set spec.keyAccess of the service to Enabled")
}

// WorkloadClaim is what a workload proved at a hub.
type WorkloadClaim struct {
	workload.Proof
	Grants workload.Grants
	hub    *Hub
}

// ProveWorkload checks the token of a workload. Unauthenticated when it is none that is good for this hub, Expired, Denied when the workload has
// no role here.
func (h *Hub) ProveWorkload(token string) (WorkloadClaim, error) {
	op := "hub.ProveWorkload"
	v := h.server.cfg.Workloads
	if v == nil {
		return WorkloadClaim{}, fault.New(op, fault.Unauthenticated, "this hub takes no tokens of workloads").Advise("use the connection string of a policy, such as %s", PolicyService)
	}
	p, err := v.Verify(token, slices.Concat([]string{workload.AudienceIoTHub, workload.AudienceEventHubs}, h.HostNames())...)
	if err != nil {
		return WorkloadClaim{}, fault.Wrap(op, fault.Internal, err, "")
	}
	c := WorkloadClaim{Proof: p, Grants: workload.Rights(h.plan.Load().Assignments, p), hub: h}
	if len(c.Grants) == 0 {
		return WorkloadClaim{}, fault.Newf(op, fault.Denied, "the workload %s has no role at %s", p.Workload, h.HostName()).
			Advise("make a RoleAssignment for it, and compare which agent carries it")
	}
	return c, nil
}

// Valid tells whether the workload still has all the roles it had, by an agent that is still there.
func (c WorkloadClaim) Valid() bool {
	return !c.hub.gone.Load() && c.hub.server.cfg.Workloads.Holds(c.Proof) && c.Grants.Holds(c.hub.plan.Load().Assignments, c.Proof)
}

// May tells whether the workload has one of the roles now: Denied, Expired, or Unauthenticated when a role was taken away since.
func (c WorkloadClaim) May(roles ...resource.DataRole) error {
	op := "hub.May"
	switch now := c.hub.server.clock.Now(); {
	case !c.Valid():
		return fault.Newf(op, fault.Unauthenticated, "a role of the workload %s has been taken away", c.Workload).Advise("show its token again")
	case !now.Before(c.Expires):
		return fault.Newf(op, fault.Expired, "the token ended %s ago", now.Sub(c.Expires).Round(time.Second)).Advise("make a new one before the old one ends")
	case len(roles) == 0:
		return fault.New(op, fault.Denied, "no role gives a workload the right to do this").Advise("do it with the key of %s, or on the hub's own machine", PolicyOwner)
	case !c.Grants.May("", roles...):
		return fault.Newf(op, fault.Denied, "the workload %s does not have the role %s", c.Workload, roles[0]).Advise("make a RoleAssignment for it")
	}
	return nil
}

// service is the claim as doors see it that know policies. Reading events and everything else are of different roles.
func (c WorkloadClaim) service() ServiceClaim {
	return ServiceClaim{Policy: c.Workload, Rights: ServiceConnect, Expires: c.Expires, hub: c.hub, workload: &c}
}

// mayService is ServiceClaim.May for a workload.
func (c WorkloadClaim) mayService(need Right, path string) error {
	if need != ServiceConnect {
		return c.May()
	}
	if path = strings.ToLower(strings.Trim(path, "/")); path == "messages/events" || strings.HasPrefix(path, "messages/events/") {
		return c.May(resource.RoleDataReceiver)
	}
	return c.May(resource.RoleHubContributor)
}

// follow has the hub do as a new plan says of keys and roles: whoever stands on what is gone is cut, or told to look again.
func (h *Hub) follow(before, now *plan.Hub) {
	if before == nil || len(before.Assignments)+len(now.Assignments) == 0 && before.KeysOff == now.KeysOff {
		return // agents that were removed matter only where workloads have roles
	}
	h.renew()
	if now.KeysOff {
		h.cutWhere(KeyGone, func(s *Session) bool { return s.proof().signer.policy != "" })
	}
}
