package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/signin"
	"github.com/isthmus-io/isthmus/signin/terminal"
)

// signInFlags is how somebody logs in.
type signInFlags struct {
	name, provider    string
	device, noBrowser bool
}

// signIn begins a session of the person who sits here.
func signIn(c *cobra.Command, w *world, cfg client.Config, in signInFlags) (savedContext, error) {
	tenant, name, ok := strings.Cut(in.provider, "/")
	if !ok || tenant == "" || name == "" || strings.Contains(name, "/") {
		return savedContext{}, usagef("--provider %q does not name an identity provider", in.provider).advise("write it as TENANT/NAME; owners see it with: isthmus get identityproviders")
	}
	if in.device && in.noBrowser {
		return savedContext{}, usagef("--device needs no browser here, so --no-browser says nothing").advise("give one of the two")
	}
	cl, err := client.New(cfg)
	if err != nil {
		return savedContext{}, err
	}
	defer cl.Close()
	begun, err := begin(c.Context(), w, cl, cfg.Addresses[0], tenant, name, in)
	if err != nil {
		return savedContext{}, err
	}
	w.printf("signed in to %s as %s, until %s\n", cfg.Addresses[0], personWords(begun.Person), w.at(begun.Token.ExpiresAt))
	return savedContext{
		Name: in.name, Servers: cfg.Addresses, Pin: cfg.Pin, CA: string(cfg.Roots), Token: begun.Secret, User: begun.Person.Name, Tenant: tenant,
		Provider: in.provider, Expires: begun.Token.ExpiresAt,
	}, nil
}

func begin(ctx context.Context, w *world, cl *client.Client, server, tenant, name string, in signInFlags) (client.SignedIn, error) {
	done := w.waiting(server)
	p, err := cl.SignInProvider(ctx, tenant, name)
	var challenge client.SignInChallenge
	if err == nil && !in.device {
		challenge, err = cl.BeginSignIn(ctx, tenant, name)
	}
	done()
	if err != nil {
		return client.SignedIn{}, err
	}
	cfg := terminal.Config{
		Provider: signin.Provider{Name: tenant + "/" + name, Issuer: p.Issuer, ClientID: p.ClientID, CA: p.CA},
		Scopes:   p.Scopes, Nonce: challenge.Nonce, Clock: w.clock, Show: w.showSignIn,
	}
	if !in.noBrowser && !in.device {
		cfg.Open = terminal.Browser(w.getenv)
	}
	var token string
	if in.device {
		token, err = terminal.Device(ctx, cfg)
	} else {
		ctx, cancel := context.WithDeadline(ctx, challenge.Expires)
		defer cancel()
		token, err = terminal.Code(ctx, cfg)
	}
	if err != nil {
		return client.SignedIn{}, err
	}
	defer w.waiting(server)()
	return cl.SignIn(ctx, tenant, name, token, challenge.Challenge)
}

// showSignIn tells the person what to do. It is for him and not for what reads standard output.
func (w *world) showSignIn(s terminal.Step) {
	switch {
	case s.Code != "":
		w.note("open %s in a browser, and see that it shows the code %s, or type it there", s.URL, s.Code)
	case s.Opened:
		w.note("a browser opens for you to sign in; if none does, open %s", s.URL)
	default:
		w.note("open %s in a browser on this machine (on another one: isthmus login --device)", s.URL)
	}
}

func personWords(p client.Person) string {
	return p.Name + " (" + first(strings.Join(p.Roles, ", "), "no role") + " of tenant " + p.Tenant + ")"
}
