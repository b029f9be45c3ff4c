package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
)

type tokenMade struct {
	Secret string        `json:"secret" doc:"the token; shown this once"`
	Token  control.Token `json:"token"`
}

type joinTokenBody struct {
	For     control.Joiner `json:"for" enum:"agent,hub,relay,gateway,bridge" doc:"what may join with it"`
	Tenant  string         `json:"tenant,omitempty" doc:"the tenant it joins; not for relays" example:"ot"`
	Network string         `json:"network,omitempty" doc:"the network it joins; not for relays" example:"plant-7"`
	Name    string         `json:"name,omitempty" doc:"the only name that may join with it; the joiner chooses when absent"`
	TTL     string         `json:"ttl,omitempty" doc:"how long it may be used; an hour when absent" example:"24h"`
	Uses    int            `json:"uses,omitempty" minimum:"1" maximum:"1000" doc:"how many processes may join with it, each once; 1 when absent"`

	EphemeralAfter string `json:"ephemeralAfter,omitempty" doc:"remove what joined when it was not seen for so long; agents, gateways and bridges only" example:"1h"`
}

func (d *door) registerTokens() {
	handle(d, route{id: "list-tokens", method: http.MethodGet, path: "/v1/tokens", access: person, tag: "tokens", summary: "List API tokens"},
		func(ctx context.Context, _ *struct{}) (*many[control.Token], error) {
			tokens, err := d.ctl.ListTokens(ctx, principal(ctx))
			if err != nil {
				return nil, err
			}
			return &many[control.Token]{Body: items[control.Token]{emptyNotNull(tokens)}}, nil
		})
	handleBody(d, route{id: "create-token", method: http.MethodPost, path: "/v1/tokens", access: person, tag: "tokens",
		status: http.StatusCreated, summary: "Make an API token"},
		func(ctx context.Context, _ *body, b control.TokenRequest) (*struct{ Body tokenMade }, error) {
			secret, t, err := d.ctl.CreateToken(ctx, principal(ctx), b)
			if err != nil {
				return nil, err
			}
			return &struct{ Body tokenMade }{tokenMade{secret, t}}, nil
		})
	handle(d, route{id: "revoke-token", method: http.MethodDelete, path: "/v1/tokens/{id}", access: person, tag: "tokens",
		status: http.StatusNoContent, summary: "Revoke an API token"},
		func(ctx context.Context, in *struct {
			ID string `path:"id" doc:"the token's id, which is no secret"`
		}) (*struct{}, error) {
			return nil, d.ctl.RevokeToken(ctx, principal(ctx), in.ID)
		})
	handle(d, route{id: "list-join-tokens", method: http.MethodGet, path: "/v1/join-tokens", access: person, tag: "tokens", summary: "List join tokens"},
		func(ctx context.Context, in *struct {
			Tenant string `query:"tenant" doc:"only those of this tenant" example:"ot"`
			Scope  string `query:"scope" doc:"only those of this network" example:"plant-7"`
		}) (*many[control.JoinTokenView], error) {
			tokens, err := d.ctl.ListJoinTokens(ctx, principal(ctx), control.Filter{Tenant: in.Tenant, Scope: in.Scope})
			if err != nil {
				return nil, err
			}
			return &many[control.JoinTokenView]{Body: items[control.JoinTokenView]{emptyNotNull(tokens)}}, nil
		})
	handle(d, route{id: "revoke-join-token", method: http.MethodDelete, path: "/v1/join-tokens/{id}", access: person, tag: "tokens",
		status: http.StatusNoContent, summary: "Revoke a join token that was not used"},
		func(ctx context.Context, in *struct {
			ID     string `path:"id" doc:"the token's id, which is no secret"`
			Reason string `query:"reason" maxLength:"1000" doc:"stands in the audit record"`
		}) (*struct{}, error) {
			return nil, d.ctl.RevokeJoinToken(ctx, principal(ctx), in.ID, in.Reason)
		})
	handleBody(d, route{id: "create-join-token", method: http.MethodPost, path: "/v1/join-tokens", access: person, tag: "tokens",
		status: http.StatusCreated, summary: "Make a join token"},
		func(ctx context.Context, _ *body, b joinTokenBody) (*struct{ Body control.JoinToken }, error) {
			req := control.JoinTokenRequest{For: b.For, Tenant: b.Tenant, Network: b.Network, Name: b.Name, Uses: b.Uses}
			for _, f := range []struct {
				name, text string
				into       *time.Duration
			}{{"ttl", b.TTL, &req.TTL}, {"ephemeralAfter", b.EphemeralAfter, &req.EphemeralAfter}} {
				if f.text == "" {
					continue
				}
				var err error
				if *f.into, err = time.ParseDuration(f.text); err != nil || *f.into <= 0 {
					return nil, fault.Newf("httpdoor.joinToken", fault.Invalid, "%s %q is not a duration", f.name, f.text).Because(err).
						Advise("write it as 30m or 24h")
				}
			}
			t, err := d.ctl.CreateJoinToken(ctx, principal(ctx), req)
			if err != nil {
				return nil, err
			}
			return &struct{ Body control.JoinToken }{t}, nil
		})
}
