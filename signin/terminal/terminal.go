package terminal

import (
	"errors"
	"net"
	"strings"
	"unicode"

	"golang.org/x/oauth2"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/signin"
)

// Config says where to sign in and how to talk to the person.
type Config struct {
	Provider signin.Provider
	Scopes   []string // beside openid
	Nonce    string   // the token must carry it; Code only, providers do not return it otherwise
	// Show tells the person what to do.
	Show func(Step)
	// Open opens a URL in a browser; nil when there is none.
	Open func(url string) error
	// Clock is for the waits of Device; the machine's when nil.
	Clock clock.Clock
}

// Step is what the person does next: opens URL, and types Code there if there is one.
type Step struct {
	URL  string
	Code string
	// Opened tells that a browser was opened with it.
	Opened bool
}

func (c Config) clock() clock.Clock {
	if c.Clock == nil {
		return clock.System{}
	}
	return c.Clock
}

func (c Config) oauth(m *signin.Metadata) *oauth2.Config {
	scopes := []string{"openid"}
	for _, s := range c.Scopes {
		if s != "openid" {
			scopes = append(scopes, s)
		}
	}
	return &oauth2.Config{
		ClientID: c.Provider.ClientID, Scopes: scopes,
		// A public client has no secret to authenticate with; it names itself in the body (RFC 6749 3.2.1).
		Endpoint: oauth2.Endpoint{AuthURL: m.Authorization, TokenURL: m.Token, DeviceAuthURL: m.DeviceAuthorization, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// identityToken takes the one token that matters out of an answer.
func identityToken(p signin.Provider, t *oauth2.Token) (string, error) {
	id, _ := t.Extra("id_token").(string)
	if id == "" {
		return "", fault.Newf("terminal.identityToken", fault.Conflict, "the provider %s gave no identity token", p.Issuer).
			Advise("let it give one to the client %s: the scope openid must be allowed", p.ClientID)
	}
	return id, nil
}

// refused puts words to what a provider answered.
func refused(p signin.Provider, err error) error {
	op := "terminal.refused"
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	var answer *oauth2.RetrieveError
	var network net.Error
	switch {
	case errors.As(err, &answer) && answer.ErrorCode != "":
		return said(p, answer.ErrorCode, answer.ErrorDescription)
	case errors.As(err, &network) && network.Timeout():
		return fault.Newf(op, fault.Timeout, "the identity provider %s did not answer in time", p.Issuer).Because(err).Advise("try again")
	case errors.As(err, &network):
		return fault.Newf(op, fault.Unavailable, "the identity provider %s cannot be reached from here", p.Issuer).Because(err).Advise("check the network, and try again")
	}
	return fault.Newf(op, fault.Unavailable, "the identity provider %s did not answer as it should", p.Issuer).Because(err).Advise("try again; if it stays so, ask who runs it")
}

// said is a refusal in the provider's own words (RFC 6749 4.1.2.1 and 5.2, RFC 8628 3.5).
func said(p signin.Provider, code, description string) error {
	op := "terminal.said"
	switch code {
	case "access_denied":
		return fault.New(op, fault.Denied, "the sign-in was refused"+colon(description)).Advise("if you did not refuse it yourself, ask who runs %s", p.Issuer)
	case "expired_token":
		return fault.New(op, fault.Timeout, "the code was not used in time").Advise("begin again: isthmus login --device")
	case "invalid_client", "unauthorized_client":
		return fault.Newf(op, fault.Conflict, "%s does not let the client %s do this: %s%s", p.Issuer, p.ClientID, plain(code), colon(description)).
			Advise("register it there as a public client, with this way of signing in allowed; docs/people.md has the settings")
	}
	return fault.Newf(op, fault.Conflict, "%s refuses the sign-in: %s%s", p.Issuer, plain(code), colon(description)).Advise("docs/people.md has the settings that the provider needs")
}

func colon(s string) string {
	if s = plain(s); s == "" {
		return ""
	}
	return ": " + s
}

// plain takes out of a provider's words what a terminal would act on.
func plain(s string) string {
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
