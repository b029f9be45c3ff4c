package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Persons is what may be asked about the people of tenants.
type Persons interface {
	CreatePerson(ctx context.Context, p control.Principal, req control.PersonRequest) (control.Person, error)
	People(ctx context.Context, p control.Principal, tenant string) ([]control.Person, error)
	Person(ctx context.Context, p control.Principal, uid string) (control.Person, error)
	SetRoles(ctx context.Context, p control.Principal, uid string, roles []resource.TenantRole, reason string) (control.Person, error)
	DisablePerson(ctx context.Context, p control.Principal, uid, reason string) (control.Person, error)
	EnablePerson(ctx context.Context, p control.Principal, uid, reason string) (control.Person, error)
	RemovePerson(ctx context.Context, p control.Principal, uid, reason string) error
	LinkPerson(ctx context.Context, p control.Principal, uid, provider, subject, reason string) (control.Person, error)
	CreatePersonToken(ctx context.Context, p control.Principal, uid string, req control.PersonTokenRequest) (secret string, t control.Token, err error)
	PersonTokens(ctx context.Context, p control.Principal, uid string) ([]control.Token, error)
}

type personPath struct {
	UID string `path:"uid" doc:"the person's uid, which the list shows"`
}

// personInput has its fields itself: the library passes over embedded structs that are not exported.
type personInput struct {
	UID     string `path:"uid" doc:"the person's uid, which the list shows"`
	RawBody []byte `contentType:"application/json"`
}

func (i personInput) raw() []byte { return i.RawBody }

type personReply struct{ Body control.Person }

type rolesBody struct {
	Roles  []resource.TenantRole `json:"roles" doc:"all that the person has from now on: owner, network-admin, operator, approver, auditor"`
	Reason string                `json:"reason,omitempty" doc:"stands in the audit record"`
}

type reasonBody struct {
	Reason string `json:"reason,omitempty" doc:"stands in the audit record"`
}

type linkBody struct {
	Provider string `json:"provider" doc:"an identity provider of the person's tenant" example:"corp"`
	Subject  string `json:"subject" doc:"the claim sub of the person's identity tokens"`
	Reason   string `json:"reason,omitempty" doc:"stands in the audit record"`
}

type personTokenBody struct {
	Name string `json:"name,omitempty" doc:"what it is for; personal when absent" example:"laptop"`
	TTL  string `json:"ttl,omitempty" doc:"how long it is good; 90 days when absent, at most 366" example:"2160h"`
}

func (d *door) registerPeople() {
	handle(d, route{id: "list-people", method: http.MethodGet, path: "/v1/people", access: person, tag: "people", summary: "List the people of a tenant"},
		func(ctx context.Context, in *struct {
			Tenant string `query:"tenant" doc:"whose; one's own when absent, which for the deployment are all" example:"ot"`
		}) (*many[control.Person], error) {
			people, err := d.ctl.People(ctx, principal(ctx), in.Tenant)
			if err != nil {
				return nil, err
			}
			return &many[control.Person]{Body: items[control.Person]{emptyNotNull(people)}}, nil
		})
	handleBody(d, route{id: "create-person", method: http.MethodPost, path: "/v1/people", access: person, tag: "people",
		status: http.StatusCreated, summary: "Make a person who does not sign in at an identity provider"},
		func(ctx context.Context, _ *body, b control.PersonRequest) (*personReply, error) {
			return personOr(d.ctl.CreatePerson(ctx, principal(ctx), b))
		})
	handle(d, route{id: "get-person", method: http.MethodGet, path: "/v1/people/{uid}", access: person, tag: "people", summary: "One person"},
		func(ctx context.Context, in *personPath) (*personReply, error) {
			return personOr(d.ctl.Person(ctx, principal(ctx), in.UID))
		})
	handle(d, route{id: "remove-person", method: http.MethodDelete, path: "/v1/people/{uid}", access: person, tag: "people",
		status: http.StatusNoContent, summary: "Forget a person; tokens and grants end"},
		func(ctx context.Context, in *struct {
			UID    string `path:"uid" doc:"the person's uid, which the list shows"`
			Reason string `query:"reason" maxLength:"500" doc:"stands in the audit record"`
		}) (*struct{}, error) {
			return nil, d.ctl.RemovePerson(ctx, principal(ctx), in.UID, in.Reason)
		})
	handleBody(d, route{id: "set-roles", method: http.MethodPost, path: "/v1/people/{uid}/roles", access: person, tag: "people", summary: "Give a person exactly these roles"},
		func(ctx context.Context, in *personInput, b rolesBody) (*personReply, error) {
			return personOr(d.ctl.SetRoles(ctx, principal(ctx), in.UID, b.Roles, b.Reason))
		})
	handleBody(d, route{id: "disable-person", method: http.MethodPost, path: "/v1/people/{uid}/disable", access: person, tag: "people",
		summary: "Keep a person from everything; tokens and grants end"},
		func(ctx context.Context, in *personInput, b reasonBody) (*personReply, error) {
			return personOr(d.ctl.DisablePerson(ctx, principal(ctx), in.UID, b.Reason))
		})
	handleBody(d, route{id: "enable-person", method: http.MethodPost, path: "/v1/people/{uid}/enable", access: person, tag: "people", summary: "Let a disabled person in again"},
		func(ctx context.Context, in *personInput, b reasonBody) (*personReply, error) {
			return personOr(d.ctl.EnablePerson(ctx, principal(ctx), in.UID, b.Reason))
		})
	handleBody(d, route{id: "link-person", method: http.MethodPost, path: "/v1/people/{uid}/link", access: person, tag: "people",
		summary: "Say who a person is at an identity provider"},
		func(ctx context.Context, in *personInput, b linkBody) (*personReply, error) {
			return personOr(d.ctl.LinkPerson(ctx, principal(ctx), in.UID, b.Provider, b.Subject, b.Reason))
		})
	handle(d, route{id: "list-person-tokens", method: http.MethodGet, path: "/v1/people/{uid}/tokens", access: person, tag: "people", summary: "List a person's tokens"},
		func(ctx context.Context, in *personPath) (*many[control.Token], error) {
			tokens, err := d.ctl.PersonTokens(ctx, principal(ctx), in.UID)
			if err != nil {
				return nil, err
			}
			return &many[control.Token]{Body: items[control.Token]{emptyNotNull(tokens)}}, nil
		})
	handleBody(d, route{id: "create-person-token", method: http.MethodPost, path: "/v1/people/{uid}/tokens", access: person, tag: "people",
		status: http.StatusCreated, summary: "Make a personal token"}, d.createPersonToken)
}

func (d *door) createPersonToken(ctx context.Context, in *personInput, b personTokenBody) (*struct{ Body tokenMade }, error) {
	req := control.PersonTokenRequest{Name: b.Name}
	if b.TTL != "" {
		var err error
		if req.Life, err = time.ParseDuration(b.TTL); err != nil || req.Life <= 0 {
			return nil, fault.Newf("httpdoor.createPersonToken", fault.Invalid, "ttl %q is not a duration", brief(b.TTL)).Because(err).Advise("write it as 24h or 2160h")
		}
	}
	secret, t, err := d.ctl.CreatePersonToken(ctx, principal(ctx), in.UID, req)
	if err != nil {
		return nil, err
	}
	return &struct{ Body tokenMade }{tokenMade{secret, t}}, nil
}

func personOr(p control.Person, err error) (*personReply, error) {
	if err != nil {
		return nil, err
	}
	return &personReply{p}, nil
}
