package httpdoor

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

// Access is what people ask of the control plane about being let into machines.
type Access interface {
	RequestGrant(ctx context.Context, p control.Principal, r control.GrantRequest) (control.GrantView, error)
	DecideGrant(ctx context.Context, p control.Principal, id string, d control.GrantDecision, why string, more time.Duration) (control.GrantView, error)
	Grants(ctx context.Context, p control.Principal, f control.GrantFilter) ([]control.GrantView, error)
	Grant(ctx context.Context, p control.Principal, id string) (control.GrantView, error)
	WaitGrant(ctx context.Context, p control.Principal, id string, d time.Duration) (control.GrantView, error)
	Pass(ctx context.Context, p control.Principal, r control.PassRequest) (control.Pass, error)
	SSHCertificate(ctx context.Context, p control.Principal, r control.SSHCertificateRequest) (control.SSHCertificate, error)
	SSHAuthority(ctx context.Context, p control.Principal, tenant string) (control.SSHAuthority, error)
	Sessions(ctx context.Context, p control.Principal, f control.SessionFilter) ([]control.SessionView, error)
	Recording(ctx context.Context, p control.Principal, session string) (control.RecordingContent, error)
	ExplainAccess(ctx context.Context, p control.Principal, q control.AccessQuestion) (control.AccessExplanation, error)
	CreateWebhook(ctx context.Context, p control.Principal, r control.WebhookRequest) (secret string, h control.Webhook, err error)
	Webhooks(ctx context.Context, p control.Principal) ([]control.Webhook, error)
	DeleteWebhook(ctx context.Context, p control.Principal, id string) error
	TestWebhook(ctx context.Context, p control.Principal, id string) error
}

// Leaders is what processes that lead to targets ask and tell.
type Leaders interface {
	NoteSessions(ctx context.Context, id identity.ID, records []session.Record) error
	PutRecording(ctx context.Context, id identity.ID, session string, r io.Reader, size int64, sha256 string) error
	CertifySession(ctx context.Context, id identity.ID, r control.SessionCertificateRequest) (control.SSHCertificate, error)
	HostCertificate(ctx context.Context, id identity.ID, publicKey string) (control.SSHCertificate, error)
}

// longestWait is how long a question may wait for its answer; requests end after requestLimit.
const longestWait = 50 * time.Second

type grantBody struct {
	Target string     `json:"target" doc:"TENANT/NETWORK/NAME" example:"ot/plant-7/press-4-ssh"`
	Kind   grant.Kind `json:"kind,omitempty" enum:"Once,Standing,BreakGlass" doc:"Once when absent"`
	Reason string     `json:"reason" doc:"stands in the audit log for good" example:"the press stops every hour"`
	From   time.Time  `json:"from,omitzero" doc:"as soon as it is approved when absent"`
	For    string     `json:"for,omitempty" doc:"an hour when absent, or what the policy lets at most" example:"2h"`
	Ask    []string   `json:"ask,omitempty" doc:"names of people who are to approve; every approver when absent"`

	Hours  *resource.WorkingHours `json:"hours,omitempty" doc:"Standing only"`
	Person string                 `json:"person,omitempty" doc:"Standing only: who is let in, by name, or as TENANT/NAME; who asks when absent"`
}

type decideBody struct {
	Why string `json:"why,omitempty" doc:"stands in the audit log for good; needed for extend and review"`
	For string `json:"for,omitempty" doc:"extend: how much longer" example:"30m"`
}

type grantsInput struct {
	Tenant     string    `query:"tenant" doc:"only for targets of this tenant" example:"ot"`
	Target     string    `query:"target" doc:"only for this target" example:"ot/plant-7/press-4-ssh"`
	Person     string    `query:"person" doc:"only of the person with this name" example:"alice@example.net"`
	State      string    `query:"state" enum:"Requested,Approved,Denied,Withdrawn,Lapsed,Revoked,Expired" doc:"only in this state"`
	Open       bool      `query:"open" doc:"only requested or approved"`
	Mine       bool      `query:"mine" doc:"only the caller's own"`
	Unreviewed bool      `query:"unreviewed" doc:"only emergencies that nobody has looked at afterwards"`
	Before     time.Time `query:"before" doc:"only requested before this time; for paging"`
	Limit      int       `query:"limit" minimum:"1" maximum:"1000" doc:"how many; 100 when absent"`
}

type oneGrant struct{ Body control.GrantView }

func (d *door) registerAccess() {
	handleBody(d, route{id: "request-access", method: http.MethodPost, path: "/v1/access/grants", access: person, tag: "access",
		status: http.StatusCreated, summary: "Ask for access to a target"},
		func(ctx context.Context, _ *body, b grantBody) (*oneGrant, error) {
			length, err := duration("for", b.For)
			if err != nil {
				return nil, err
			}
			v, err := d.ctl.RequestGrant(ctx, principal(ctx), control.GrantRequest{
				Target: b.Target, Kind: b.Kind, Reason: b.Reason, From: b.From, For: length, Ask: b.Ask, Hours: b.Hours, Person: b.Person})
			if err != nil {
				return nil, err
			}
			return &oneGrant{v}, nil
		})
	handle(d, route{id: "list-grants", method: http.MethodGet, path: "/v1/access/grants", access: person, tag: "access",
		summary: "List one's own grants, or those of the tenant's targets"},
		func(ctx context.Context, in *grantsInput) (*many[control.GrantView], error) {
			list, err := d.ctl.Grants(ctx, principal(ctx), control.GrantFilter{
				Tenant: in.Tenant, Target: in.Target, Person: in.Person, State: grant.State(in.State), Open: in.Open, Mine: in.Mine,
				Unreviewed: in.Unreviewed, Before: in.Before, Limit: in.Limit})
			if err != nil {
				return nil, err
			}
			return &many[control.GrantView]{Body: items[control.GrantView]{emptyNotNull(list)}}, nil
		})
	handle(d, route{id: "get-grant", method: http.MethodGet, path: "/v1/access/grants/{id}", access: person, tag: "access", summary: "Read a grant"},
		func(ctx context.Context, in *struct {
			ID   string `path:"id"`
			Wait string `query:"wait" doc:"answer when nothing of it waits for a decision any more, and after this long at the latest" example:"30s"`
		}) (*oneGrant, error) {
			wait, err := duration("wait", in.Wait)
			if err != nil {
				return nil, err
			}
			v, err := d.ctl.WaitGrant(ctx, principal(ctx), in.ID, min(wait, longestWait))
			if err != nil {
				return nil, err
			}
			return &oneGrant{v}, nil
		})
	handleBody(d, route{id: "decide-grant", method: http.MethodPost, path: "/v1/access/grants/{id}/{decision}", access: person, tag: "access",
		summary: "Approve, deny, revoke, extend or review a grant"},
		func(ctx context.Context, in *struct {
			body
			ID       string `path:"id"`
			Decision string `path:"decision" enum:"approve,deny,revoke,extend,review"`
		}, b decideBody) (*oneGrant, error) {
			more, err := duration("for", b.For)
			if err != nil {
				return nil, err
			}
			v, err := d.ctl.DecideGrant(ctx, principal(ctx), in.ID, control.GrantDecision(in.Decision), b.Why, more)
			if err != nil {
				return nil, err
			}
			return &oneGrant{v}, nil
		})
	d.registerPasses()
	d.registerSessions()
	d.registerWebhooks()
}

func duration(name, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	out, err := time.ParseDuration(text)
	if err != nil || out < 0 {
		return 0, fault.Newf("httpdoor.duration", fault.Invalid, "%s %q is not a duration", name, brief(text)).Because(err).Advise("write it as 30m or 24h")
	}
	return out, nil
}
