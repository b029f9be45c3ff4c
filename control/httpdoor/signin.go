package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
)

// SignIns is what somebody may ask who is nobody yet, and how a session ends.
type SignIns interface {
	SignInProvider(ctx context.Context, tenant, name string) (control.SignInProvider, error)
	SignInChallenge(ctx context.Context, tenant, provider string) (control.SignInChallenge, error)
	SignIn(ctx context.Context, req control.SignInRequest) (control.SignedIn, error)
	SignOut(ctx context.Context, p control.Principal, bearer string) error
}

type challengeBody struct {
	Tenant   string `json:"tenant" example:"ot"`
	Provider string `json:"provider" doc:"its name" example:"corp"`
}

func (d *door) registerSignIn() {
	handle(d, route{id: "sign-in-provider", method: http.MethodGet, path: "/v1/sign-in/providers/{tenant}/{name}", access: anybody, tag: "sign-in",
		summary: "How to sign in at an identity provider"},
		func(ctx context.Context, in *tenantPath) (*struct{ Body control.SignInProvider }, error) {
			if err := d.stranger(requestOf(ctx)); err != nil {
				return nil, err
			}
			p, err := d.ctl.SignInProvider(ctx, in.Tenant, in.Name)
			if err != nil {
				return nil, err
			}
			return &struct{ Body control.SignInProvider }{p}, nil
		})
	handleBody(d, route{id: "begin-sign-in", method: http.MethodPost, path: "/v1/sign-in/challenges", access: anybody, tag: "sign-in",
		status: http.StatusCreated, summary: "Begin a sign-in over a browser"},
		func(ctx context.Context, _ *body, b challengeBody) (*struct{ Body control.SignInChallenge }, error) {
			if err := d.stranger(requestOf(ctx)); err != nil {
				return nil, err
			}
			c, err := d.ctl.SignInChallenge(ctx, b.Tenant, b.Provider)
			if err != nil {
				return nil, err
			}
			return &struct{ Body control.SignInChallenge }{c}, nil
		})
	handleBody(d, route{id: "sign-in", method: http.MethodPost, path: "/v1/sign-in", access: anybody, tag: "sign-in",
		status: http.StatusCreated, summary: "Begin a session with an identity token"},
		func(ctx context.Context, _ *body, b control.SignInRequest) (*struct{ Body control.SignedIn }, error) {
			if err := d.stranger(requestOf(ctx)); err != nil {
				return nil, err
			}
			s, err := d.ctl.SignIn(ctx, b)
			if err != nil {
				return nil, d.wrongSecret(requestOf(ctx), "identity token", err)
			}
			return &struct{ Body control.SignedIn }{s}, nil
		})
	handle(d, route{id: "sign-out", method: http.MethodDelete, path: "/v1/sign-in", access: person, tag: "sign-in",
		status: http.StatusNoContent, summary: "End the session one asks with"},
		func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			return nil, d.ctl.SignOut(ctx, principal(ctx), bearer(requestOf(ctx)))
		})
}

// Requests of one source about signing in, right or wrong: at once, and one more each. A sign-in takes three. Were right ones free, names of
// tenants and providers could be tried without end.
const (
	strangerBurst = 90
	strangerEvery = time.Second
)

// stranger counts a request of somebody who shows nothing against its source.
func (d *door) stranger(r *http.Request) error {
	from := source(r)
	wait := d.strangers.Take(from)
	if wait == 0 {
		return nil
	}
	t := &tooMany{wait}
	return fault.Newf("httpdoor.stranger", fault.Exhausted, "too many sign-ins were begun from %s", words(from)).Because(t).Advise("try again in %s s", t.retryAfter())
}
