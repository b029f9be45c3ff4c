package httpdoor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// The parts of a path, by scope. The library looks only at fields of exported types, so nothing is embedded here.
type (
	deploymentPath struct {
		Name string `path:"name" doc:"the name" example:"relay-1"`
	}
	tenantPath struct {
		Tenant string `path:"tenant" doc:"the tenant" example:"ot"`
		Name   string `path:"name" doc:"the name" example:"plant-7"`
	}
	networkPath struct {
		Tenant  string `path:"tenant" doc:"the tenant" example:"ot"`
		Network string `path:"network" doc:"the network" example:"plant-7"`
		Name    string `path:"name" doc:"the name" example:"hub"`
	}
	zonePath struct {
		Tenant string `path:"tenant" doc:"the tenant" example:"ot"`
		Zone   string `path:"zone" doc:"the private zone" example:"privatelink.azure-devices.net"`
		Name   string `path:"name" doc:"the name, relative to the zone" example:"contoso"`
	}
)

type pathOf interface {
	key(k resource.Kind) resource.Key
}

func (p deploymentPath) key(k resource.Kind) resource.Key { return resource.Key{Kind: k, Name: p.Name} }
func (p tenantPath) key(k resource.Kind) resource.Key {
	return resource.Key{Kind: k, Tenant: p.Tenant, Name: p.Name}
}
func (p networkPath) key(k resource.Kind) resource.Key {
	return resource.Key{Kind: k, Tenant: p.Tenant, Scope: p.Network, Name: p.Name}
}
func (p zonePath) key(k resource.Kind) resource.Key {
	return resource.Key{Kind: k, Tenant: p.Tenant, Scope: p.Zone, Name: p.Name}
}

// removal is what a DELETE says beside the path.
type removal struct{ reason, ifMatch string }

type (
	removeDeployment struct {
		Name    string `path:"name" doc:"the name" example:"relay-1"`
		Reason  string `query:"reason" maxLength:"1000" doc:"stands in the audit record"`
		IfMatch string `header:"If-Match" doc:"the ETag it must still have"`
	}
	removeTenant struct {
		Tenant  string `path:"tenant" doc:"the tenant" example:"ot"`
		Name    string `path:"name" doc:"the name" example:"plant-7"`
		Reason  string `query:"reason" maxLength:"1000" doc:"stands in the audit record"`
		IfMatch string `header:"If-Match" doc:"the ETag it must still have"`
	}
	removeNetwork struct {
		Tenant  string `path:"tenant" doc:"the tenant" example:"ot"`
		Network string `path:"network" doc:"the network" example:"plant-7"`
		Name    string `path:"name" doc:"the name" example:"hub"`
		Reason  string `query:"reason" maxLength:"1000" doc:"stands in the audit record"`
		IfMatch string `header:"If-Match" doc:"the ETag it must still have"`
	}
	removeZone struct {
		Tenant  string `path:"tenant" doc:"the tenant" example:"ot"`
		Zone    string `path:"zone" doc:"the private zone" example:"privatelink.azure-devices.net"`
		Name    string `path:"name" doc:"the name, relative to the zone" example:"contoso"`
		Reason  string `query:"reason" maxLength:"1000" doc:"stands in the audit record"`
		IfMatch string `header:"If-Match" doc:"the ETag it must still have"`
	}
)

type removes interface {
	what(k resource.Kind) (resource.Key, removal)
}

func (r removeDeployment) what(k resource.Kind) (resource.Key, removal) {
	return deploymentPath{r.Name}.key(k), removal{r.Reason, r.IfMatch}
}

func (r removeTenant) what(k resource.Kind) (resource.Key, removal) {
	return tenantPath{r.Tenant, r.Name}.key(k), removal{r.Reason, r.IfMatch}
}

func (r removeNetwork) what(k resource.Kind) (resource.Key, removal) {
	return networkPath{r.Tenant, r.Network, r.Name}.key(k), removal{r.Reason, r.IfMatch}
}

func (r removeZone) what(k resource.Kind) (resource.Key, removal) {
	return zonePath{r.Tenant, r.Zone, r.Name}.key(k), removal{r.Reason, r.IfMatch}
}

type listInput struct {
	Tenant string `query:"tenant" doc:"only what belongs to this tenant" example:"ot"`
	Scope  string `query:"scope" doc:"only what belongs to this network, or to this zone for record sets" example:"plant-7"`
}

type one[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

// items is the body of every list.
type items[T any] struct {
	Items []T `json:"items" doc:"in the order of their names; of their sequence for audit records" nullable:"false"`
}

type many[T any] struct {
	Body items[T]
}

func (d *door) registerResources() {
	resourceRoutes[resource.Tenant, deploymentPath, removeDeployment](d, resource.KindTenant, "a tenant")
	resourceRoutes[resource.Network, tenantPath, removeTenant](d, resource.KindNetwork, "a network")
	resourceRoutes[resource.Zone, tenantPath, removeTenant](d, resource.KindZone, "a private zone")
	resourceRoutes[resource.RecordSet, zonePath, removeZone](d, resource.KindRecordSet, "a record set")
	resourceRoutes[resource.Relay, deploymentPath, removeDeployment](d, resource.KindRelay, "a relay")
	resourceRoutes[resource.Agent, networkPath, removeNetwork](d, resource.KindAgent, "an agent")
	resourceRoutes[resource.Service, networkPath, removeNetwork](d, resource.KindService, "a service")
	resourceRoutes[resource.PrivateEndpoint, networkPath, removeNetwork](d, resource.KindPrivateEndpoint, "a private endpoint")
	resourceRoutes[resource.Ruleset, tenantPath, removeTenant](d, resource.KindRuleset, "a ruleset")
	resourceRoutes[resource.Gateway, networkPath, removeNetwork](d, resource.KindGateway, "a gateway")
	resourceRoutes[resource.Allowlist, networkPath, removeNetwork](d, resource.KindAllowlist, "an allowlist")
	resourceRoutes[resource.IdentityProvider, tenantPath, removeTenant](d, resource.KindIdentityProvider, "an identity provider")
	resourceRoutes[resource.AccessPolicy, tenantPath, removeTenant](d, resource.KindAccessPolicy, "an access policy")
	resourceRoutes[resource.Target, networkPath, removeNetwork](d, resource.KindTarget, "a target")
	resourceRoutes[resource.Contract, tenantPath, removeTenant](d, resource.KindContract, "a contract")
	resourceRoutes[resource.Bridge, networkPath, removeNetwork](d, resource.KindBridge, "a bridge")
	resourceRoutes[resource.RoleAssignment, networkPath, removeNetwork](d, resource.KindRoleAssignment, "a role assignment")
	d.registerApply()
}

// resourceRoutes registers what one can do with every kind.
func resourceRoutes[T any, P pathOf, R removes](d *door, kind resource.Kind, what string) {
	plural := Plural(kind)
	single := "/v1/" + plural + pathShape(kind)
	handle(d, route{id: "list-" + plural, method: http.MethodGet, path: "/v1/" + plural, access: person, tag: plural, summary: "List " + plural},
		func(ctx context.Context, in *listInput) (*many[T], error) {
			objects, err := d.ctl.List(ctx, principal(ctx), kind, control.Filter{Tenant: in.Tenant, Scope: in.Scope})
			if err != nil {
				return nil, err
			}
			out := &many[T]{Body: items[T]{Items: make([]T, 0, len(objects))}}
			for _, o := range objects {
				t, err := typed[T](o)
				if err != nil {
					return nil, err
				}
				out.Body.Items = append(out.Body.Items, *t)
			}
			return out, nil
		})
	handle(d, route{id: "get-" + plural, method: http.MethodGet, path: single, access: person, tag: plural, summary: "Read " + what},
		func(ctx context.Context, in *P) (*one[T], error) {
			o, err := d.ctl.Get(ctx, principal(ctx), (*in).key(kind))
			if err != nil {
				return nil, err
			}
			t, err := typed[T](o)
			if err != nil {
				return nil, err
			}
			return &one[T]{ETag: etag(o), Body: *t}, nil
		})
	handle(d, route{id: "delete-" + plural, method: http.MethodDelete, path: single, access: person, tag: plural, status: http.StatusNoContent, summary: "Remove " + what},
		func(ctx context.Context, in *R) (*struct{}, error) {
			key, how := (*in).what(kind)
			ctx, err := d.must(ctx, key, how.ifMatch)
			if err != nil {
				return nil, err
			}
			return nil, d.ctl.Delete(ctx, principal(ctx), key, how.reason)
		})
}

func typed[T any](o resource.Object) (*T, error) {
	t, ok := any(o).(*T)
	if !ok {
		return nil, fault.Newf("httpdoor.typed", fault.Internal, "%T where %T was asked for", o, t)
	}
	return t, nil
}

// etag names what people asked for, not what Isthmus says about it, so that an agent's report does not spoil somebody's change: the
// uid, the generation, and for an endpoint or a contract the decision.
func etag(o resource.Object) string {
	m := o.Head().Metadata
	tag := fmt.Sprintf("%s.%d", m.UID, m.Generation)
	if e, ok := o.(*resource.PrivateEndpoint); ok {
		c := e.Status.Connection
		tag += "." + strings.ToLower(string(c.State))
		if !c.DecidedAt.IsZero() {
			tag += fmt.Sprintf(".%x", c.DecidedAt.UnixNano())
		}
	}
	if n, ok := o.(*resource.Contract); ok && len(n.Status.History) > 0 {
		last := n.Status.History[len(n.Status.History)-1]
		tag += fmt.Sprintf(".%s.%x", last.What, last.At.UnixNano())
	}
	return `"` + tag + `"`
}

// must holds If-Match (RFC 9110 13.1.1) against the noun as the caller sees it, and has it held again in the transaction of the
// change that is made with the context returned. Without If-Match nothing is read.
func (d *door) must(ctx context.Context, key resource.Key, ifMatch string) (context.Context, error) {
	if ifMatch == "" {
		return ctx, nil
	}
	o, err := d.ctl.Get(ctx, principal(ctx), key)
	if err != nil {
		return ctx, err
	}
	check := func(o resource.Object) error {
		now := etag(o)
		for want := range strings.SplitSeq(ifMatch, ",") {
			if want = strings.TrimSpace(want); want == "*" || want == now {
				return nil
			}
		}
		return fault.Newf("httpdoor.must", fault.Precondition, "%s has changed: its ETag is %s now", key, now).
			Advise("read it again and decide again")
	}
	return control.WithPrecondition(ctx, control.Precondition{Key: key, Check: check}), check(o)
}

type applyInput struct {
	body
	IfMatch string `header:"If-Match" doc:"the ETag the only object must still have"`
}

type applyBody struct {
	Objects []json.RawMessage `json:"objects"`
	DryRun  bool              `json:"dryRun"`
	Reason  string            `json:"reason"`
}

type applyReply struct {
	DryRun  bool             `json:"dryRun" doc:"nothing was kept"`
	Changes []control.Change `json:"changes" doc:"in the order of the objects" nullable:"false"`
}

func (d *door) registerApply() {
	handleBody(d, route{id: "apply", method: http.MethodPost, path: "/v1/apply", access: person, tag: "apply",
		summary: "Make or change objects, all or nothing", maxBody: d.cfg.MaxBody},
		func(ctx context.Context, in *applyInput, b applyBody) (*struct{ Body applyReply }, error) {
			if len(b.Objects) == 0 {
				return nil, fault.New("httpdoor.apply", fault.Invalid, "objects is empty").Advise("send at least one object")
			}
			objects := make([]resource.Object, 0, len(b.Objects))
			for i, raw := range b.Objects {
				o, err := decodeObject(raw, fmt.Sprintf("objects[%d]", i))
				if err != nil {
					return nil, err
				}
				objects = append(objects, o)
			}
			if in.IfMatch != "" {
				if len(objects) != 1 {
					return nil, fault.New("httpdoor.apply", fault.Invalid, "If-Match goes with exactly one object").Advise("apply it on its own")
				}
				var err error
				if ctx, err = d.must(ctx, objects[0].Head().Key(), in.IfMatch); err != nil {
					return nil, err
				}
			}
			changes, err := d.ctl.Apply(ctx, principal(ctx), objects, control.ApplyOptions{DryRun: b.DryRun, Reason: b.Reason})
			if err != nil {
				return nil, err
			}
			for i := range changes {
				if changes[i].Kind == "" {
					changes[i].Kind, changes[i].Path = string(changes[i].Key.Kind), changes[i].Key.Path()
				}
			}
			return &struct{ Body applyReply }{applyReply{DryRun: b.DryRun, Changes: emptyNotNull(changes)}}, nil
		})
}

// decodeObject reads one noun of whatever kind it says it is.
func decodeObject(raw json.RawMessage, where string) (resource.Object, error) {
	op := "httpdoor.decodeObject"
	var head struct {
		APIVersion string        `json:"apiVersion"`
		Kind       resource.Kind `json:"kind"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fault.New(op, fault.Invalid, misfit(where, err)).Because(err).Advise("an object has apiVersion, kind, metadata and spec")
	}
	o, ok := resource.New(head.Kind)
	if !ok {
		f := fault.Newf(op, fault.Invalid, "%s.kind %q is not a kind", where, brief(string(head.Kind)))
		var names []string
		for _, k := range resource.Kinds() {
			names = append(names, string(k))
		}
		if near := nearest(string(head.Kind), names); near != "" {
			return nil, f.Advise("did you mean %s?", near)
		}
		return nil, f.Advise("kinds are %s", strings.Join(names, ", "))
	}
	if head.APIVersion != resource.APIVersion {
		return nil, fault.Newf(op, fault.Invalid, "%s.apiVersion is %q", where, brief(head.APIVersion)).Advise("write apiVersion: %s", resource.APIVersion)
	}
	if err := decodeStrict(raw, o, where); err != nil {
		return nil, err
	}
	return o, nil
}

func emptyNotNull[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
