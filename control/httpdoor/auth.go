package httpdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

// maxBearer bounds the token text that is hashed for a stranger.
const maxBearer = 1024

// access says who may use a route.
type access uint8

const (
	anybody access = iota
	person
	member
	renewer // a member whose certificate may have lapsed a while ago
)

// Names of the security schemes in the OpenAPI document.
const (
	schemeBearer = "token"
	schemeMember = "member"
)

func (a access) security() []map[string][]string {
	switch a {
	case person:
		return []map[string][]string{{schemeBearer: {}}}
	case member, renewer:
		return []map[string][]string{{schemeMember: {}}}
	case anybody:
	}
	return []map[string][]string{}
}

// memberCert is what a verified client certificate says.
type memberCert struct {
	id  identity.ID
	end time.Time
}

// settle finds out who asks before anything else of the request is looked at.
func (d *door) settle(a access) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		var key contextKey
		var who any
		var err error
		switch a {
		case person:
			key = keyPrincipal
			who, err = d.person(r)
		case member, renewer:
			key = keyMember
			who, err = d.member(r, a == renewer)
		case anybody:
			next(ctx)
			return
		}
		if err != nil {
			d.problemOf(err, r).write(w)
			return
		}
		next(huma.WithValue(ctx, key, who))
	}
}

func principal(ctx context.Context) control.Principal {
	return ctx.Value(keyPrincipal).(control.Principal)
}

func memberOf(ctx context.Context) memberCert { return ctx.Value(keyMember).(memberCert) }

// bearer is the token a request carries (RFC 6750 2.1); empty when there is none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func (d *door) person(r *http.Request) (control.Principal, error) {
	op := "httpdoor.person"
	token := bearer(r)
	if token == "" || len(token) > maxBearer {
		return control.Principal{}, fault.New(op, fault.Unauthenticated, "the request carries no API token").
			Advise("send it as: Authorization: Bearer TOKEN")
	}
	p, err := d.ctl.Authenticate(r.Context(), token)
	if err != nil {
		return control.Principal{}, d.wrongSecret(r, "API token", err)
	}
	return p, nil
}

// member verifies the client certificate against the deployment's authorities as of now. It is done here and not in the handshake,
// so that a refusal is a problem document and renewal can be granted a while after the end.
func (d *door) member(r *http.Request, late bool) (memberCert, error) {
	op := "httpdoor.member"
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return memberCert{}, fault.New(op, fault.Unauthenticated, "the request shows no client certificate").
			Advise("this route is for agents, hubs and relays that joined")
	}
	if r.TLS.Version < tls.VersionTLS13 {
		return memberCert{}, fault.New(op, fault.Unauthenticated, "members speak TLS 1.3")
	}
	leaf, now := r.TLS.PeerCertificates[0], d.clock.Now()
	at := now
	if late && now.After(leaf.NotAfter) && now.Before(leaf.NotAfter.Add(d.cfg.RenewGrace)) {
		at = leaf.NotAfter
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: d.cfg.Roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Reason == x509.Expired {
			if now.Before(leaf.NotBefore) {
				return memberCert{}, fault.New(op, fault.Unauthenticated, "the client certificate is not valid yet").Because(err).
					Advise("compare the clocks of both machines")
			}
			return memberCert{}, fault.New(op, fault.Expired, "the client certificate has lapsed").Because(err).
				Advise("renew it; after %d days only a new join token helps", int(d.cfg.RenewGrace.Hours()/24))
		}
		return memberCert{}, fault.New(op, fault.Unauthenticated, "the client certificate was not issued by this deployment").Because(err)
	}
	id, err := identity.FromCertificate(leaf)
	if err != nil {
		return memberCert{}, err
	}
	return memberCert{id: id, end: leaf.NotAfter}, nil
}

// orRemoved turns "I do not know you" about somebody with a good certificate into what it means: removed.
func orRemoved(err error) error {
	if fault.KindOf(err) != fault.Unauthenticated {
		return err
	}
	return fault.New("httpdoor.member", fault.Denied, fault.Message(err)).Because(err).Advise("%s", fault.Next(err))
}
