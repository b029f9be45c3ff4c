package control

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// bridges compiles what a process carries, the oldest bridge first, and whom of the providers' side it must not speak to any more.
func (c compiler) bridges(w *world, p *place, a *resource.Agent) (out []plan.Bridge, revoked []string) {
	for _, b := range p.bridges {
		if b.Status.Agent != a.Metadata.Name {
			continue
		}
		out = append(out, c.bridge(w, p, b))
		for _, name := range b.Spec.Endpoints() {
			if _, s := w.endAt(p, name); s != nil {
				revoked = append(revoked, w.revoked[placeOf(s)]...)
			}
		}
	}
	return out, revoked
}

// endAt finds a private endpoint of a network and the service it leads to; either may be nil.
func (w *world) endAt(p *place, name string) (*resource.PrivateEndpoint, *resource.Service) {
	i := slices.IndexFunc(p.endpoints, func(e *resource.PrivateEndpoint) bool { return e.Metadata.Name == name })
	if i < 0 {
		return nil, nil
	}
	return p.endpoints[i], w.services[w.targets[p.endpoints[i].Metadata.UID]]
}

func (c compiler) bridge(w *world, p *place, b *resource.Bridge) plan.Bridge {
	m := b.Metadata
	out := plan.Bridge{
		ID: m.UID, Name: b.Key().Path(), Identity: c.bridgeID(b), Spec: b.Spec, Assignment: b.Status.Assignment, Known: b.Status.Partitions,
	}
	for _, name := range b.Spec.Endpoints() {
		if out.Ends == nil {
			out.Ends = map[string]plan.BridgeEnd{}
		}
		out.Ends[name] = c.end(w, p, b, name)
	}
	out.Problem, out.Step = c.trouble(b, worldLook{w, p})
	if n := w.contracts[contractKey(b)]; n != nil && c.contractTrouble(b, worldLook{w, p}) == "" {
		agreed := *n.agreed
		agreed.HashKey = w.hashKeys[n.noun.Metadata.UID]
		out.Contract = &agreed
	}
	return out
}

func (c compiler) bridgeID(b *resource.Bridge) string {
	return string(identity.BridgeID(c.trustDomain, b.Metadata.Tenant, b.Metadata.Network, b.Metadata.Name))
}

// end tells nothing of the provider's side until the connection is approved.
func (c compiler) end(w *world, p *place, b *resource.Bridge, name string) plan.BridgeEnd {
	e, s := w.endAt(p, name)
	if e == nil {
		return plan.BridgeEnd{Name: b.Metadata.Tenant + "/" + b.Metadata.Network + "/" + name}
	}
	out := plan.BridgeEnd{ID: e.Metadata.UID, Name: e.Key().Path()}
	if s == nil || !e.Status.Connection.Open() {
		return out
	}
	out.Open, out.Type, out.HostName, out.Tenant, out.Service = true, s.Spec.Type, s.Spec.HostName, s.Metadata.Tenant, e.Spec.Service
	out.Served, out.Providers = s.Spec.ServedBy != "", w.providers(s)
	for _, port := range s.Ports() {
		out.Ports = append(out.Ports, port.Port)
	}
	return out
}

// look is where the nouns a bridge needs are found: in the world for a plan, in a transaction for a warning.
type look interface {
	// end returns a private endpoint of the bridge's network and its service; either may be nil.
	end(name string) (*resource.PrivateEndpoint, *resource.Service)
	// contract returns nil when there is none.
	contract(k resource.Key) *contract
}

type worldLook struct {
	w *world
	p *place
}

func (l worldLook) end(name string) (*resource.PrivateEndpoint, *resource.Service) {
	return l.w.endAt(l.p, name)
}
func (l worldLook) contract(k resource.Key) *contract { return l.w.contracts[k] }

// The steps of a bridge that have no names of their own.
const (
	stepSource      = "source"
	stepContract    = "contract"
	stepDestination = "destination"
)

// trouble says why a bridge may not run, and where that is; empty when it may. What is wrong with its source comes first. Tables that it joins
// with do not stop it: what was read of them last holds.
func (c compiler) trouble(b *resource.Bridge, l look) (problem, step string) {
	s := &b.Spec
	if words := c.sourceTrouble(b, l); words != "" {
		return words, stepSource
	}
	for i := range s.Steps {
		if h := s.Steps[i].HTTP; h != nil {
			if words := functionTrouble(b, l, h); words != "" {
				return words, s.Steps[i].Name
			}
		}
	}
	for _, r := range s.References {
		if r.Blob == nil {
			continue
		}
		if e, _ := l.end(r.Blob.Endpoint); e == nil {
			return missingEnd(b, r.Blob.Endpoint), "reference " + r.Name
		}
	}
	if words := destinationTrouble(b, l); words != "" {
		return words, stepDestination
	}
	if words := c.contractTrouble(b, l); words != "" {
		return words, stepContract
	}
	return "", ""
}

func (c compiler) sourceTrouble(b *resource.Bridge, l look) string {
	src := &b.Spec.Source
	if words := endTrouble(b, l, src.Endpoint, "a source", src.Secret == "", resource.TypeIoTHub, resource.TypeEventHubs); words != "" {
		return words
	}
	_, s := l.end(src.Endpoint)
	switch {
	case s.Metadata.Tenant != b.Metadata.Tenant:
		return fmt.Sprintf("what %s leads to belongs to the tenant %s: a bridge runs where its source is, so that what may cross is decided there; let %s make the bridge",
			src.Endpoint, s.Metadata.Tenant, s.Metadata.Tenant)
	case s.Spec.Type == resource.TypeEventHubs && src.EventHub == "":
		return "a namespace has several event hubs: name the one to read in spec.source.eventHub"
	}
	return ""
}

// functionTrouble also refuses a function of another tenant: it would be sent what the contract, which comes last, would not let cross.
func functionTrouble(b *resource.Bridge, l look, h *resource.HTTPFunction) string {
	if words := endTrouble(b, l, h.Endpoint, "an HTTP function", false, resource.TypeFunction, resource.TypeTCP); words != "" {
		return words
	}
	if _, s := l.end(h.Endpoint); s.Metadata.Tenant != b.Metadata.Tenant {
		return fmt.Sprintf("the function that %s leads to belongs to the tenant %s, and would see events before the contract has let them cross: use one of the tenant %s",
			h.Endpoint, s.Metadata.Tenant, b.Metadata.Tenant)
	}
	return ""
}

func destinationTrouble(b *resource.Bridge, l look) string {
	d := &b.Spec.Destination
	var what string
	types, identity := []resource.ServiceType{resource.TypeTCP, resource.TypeFunction}, false
	switch {
	case d.Disk != nil:
		return ""
	case d.EventHub != nil:
		what, types, identity = "an event hub", []resource.ServiceType{resource.TypeEventHubs}, d.Secret == ""
	case d.Blob != nil && d.Blob.Container != "":
		what, types, identity = "a blob container", []resource.ServiceType{resource.TypeBlob}, d.Secret == ""
	case d.Blob != nil:
		what, types = "a bucket", append(types, resource.TypeBlob)
	case d.Kafka != nil:
		what = "a Kafka topic"
	case d.MQTT != nil:
		what = "an MQTT broker"
	default:
		what = "an HTTP destination"
	}
	return endTrouble(b, l, d.Endpoint, what, identity, types...)
}

func missingEnd(b *resource.Bridge, name string) string {
	return "there is no private endpoint " + b.Metadata.Tenant + "/" + b.Metadata.Network + "/" + name
}

// endTrouble says why an end cannot be used for what it is needed. identity: it is to be reached with the bridge's identity alone.
func endTrouble(b *resource.Bridge, l look, name, what string, identity bool, types ...resource.ServiceType) string {
	e, s := l.end(name)
	if e == nil {
		return missingEnd(b, name)
	}
	if words := shut(e, s); words != "" {
		return words
	}
	switch {
	case !slices.Contains(types, s.Spec.Type):
		var words []string
		for _, t := range types {
			words = append(words, string(t))
		}
		return fmt.Sprintf("%s leads to a service of type %s, and %s needs one of type %s", e.Key().Path(), s.Spec.Type, what, strings.Join(words, " or "))
	case identity && s.Spec.ServedBy == "":
		return fmt.Sprintf("what %s leads to is not served by Isthmus, so that the bridge's identity means nothing there: name a secret", e.Key().Path())
	}
	return ""
}

// contractKey is what a bridge names; a key that is nobody's when it names none.
func contractKey(b *resource.Bridge) resource.Key {
	k, _ := resource.ParseKey(resource.KindContract, b.Spec.Contract) // Validate has read it
	return k
}

// contractTrouble says why what the bridge names does not let it send to where it sends. It is asked once every end is open.
func (c compiler) contractTrouble(b *resource.Bridge, l look) string {
	own := b.Metadata.Tenant
	to := own
	if e, s := l.end(b.Spec.Destination.Endpoint); e != nil && s != nil && e.Status.Connection.Open() {
		to = s.Metadata.Tenant
	}
	if b.Spec.Contract == "" {
		if to == own {
			return ""
		}
		return fmt.Sprintf("it sends to the tenant %s, and nothing crosses without a contract: name one in spec.contract", to)
	}
	key := contractKey(b)
	if key.Tenant != own {
		return fmt.Sprintf("the contract %s is the tenant %s's: a contract belongs to the tenant whose data it is", b.Spec.Contract, key.Tenant)
	}
	n := l.contract(key)
	if n == nil {
		return "there is no contract " + b.Spec.Contract
	}
	if n.agreed == nil {
		return notAgreed(n.noun)
	}
	spec := &n.agreed.Spec
	if !spec.Until.IsZero() && c.now != nil && !spec.Until.After(c.now()) {
		return fmt.Sprintf("the contract %s ended at %s", b.Spec.Contract, spec.Until.UTC().Format(time.RFC3339))
	}
	if to != spec.With {
		return fmt.Sprintf("the contract %s is with the tenant %s, and the bridge sends to the tenant %s", b.Spec.Contract, spec.With, to)
	}
	return ""
}

func notAgreed(n *resource.Contract) string {
	path := n.Key().Path()
	if n.Status.State == resource.ContractWithdrawn {
		words := "the contract " + path + " was withdrawn"
		if h := n.Status.History; len(h) > 0 {
			words += " by " + h[len(h)-1].By
		}
		if n.Status.Why != "" {
			words += " (" + n.Status.Why + ")"
		}
		return words
	}
	return fmt.Sprintf("the contract %s waits for the tenant %s to accept version %d", path, n.Spec.With, n.Status.Version)
}
