package client

import (
	"context"
	"net/http"
	"time"
)

// SignInProvider is how to sign in at an identity provider of a tenant.
type SignInProvider struct {
	Tenant   string   `json:"tenant"`
	Name     string   `json:"name"`
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"clientId"`
	Scopes   []string `json:"scopes"`       // asked for beside openid
	CA       string   `json:"ca,omitempty"` // PEM
}

// SignInChallenge begins a sign-in over a browser: the provider is told the nonce, and only the program that signs in has the challenge.
type SignInChallenge struct {
	Challenge string    `json:"challenge"`
	Nonce     string    `json:"nonce"`
	Expires   time.Time `json:"expires"`
}

// SignedIn is a session. Secret is its token, shown this once.
type SignedIn struct {
	Secret string `json:"secret"`
	Token  Token  `json:"token"`
	Person Person `json:"person"`
}

// SignInProvider asks how to sign in. It needs no token.
func (c *Client) SignInProvider(ctx context.Context, tenant, name string) (p SignInProvider, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: "/v1/sign-in/providers/" + tenant + "/" + name, into: &p})
	return p, err
}

// BeginSignIn asks for a challenge, which is good for ten minutes. It needs no token.
func (c *Client) BeginSignIn(ctx context.Context, tenant, provider string) (s SignInChallenge, err error) {
	body := map[string]string{"tenant": tenant, "provider": provider}
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/sign-in/challenges", body: body, into: &s})
	return s, err
}

// SignIn begins a session with an identity token. challenge is empty for a token that came by a device code. It needs no token.
func (c *Client) SignIn(ctx context.Context, tenant, provider, idToken, challenge string) (s SignedIn, err error) {
	body := struct {
		Tenant    string `json:"tenant"`
		Provider  string `json:"provider"`
		IDToken   string `json:"idToken"`
		Challenge string `json:"challenge,omitempty"`
	}{tenant, provider, idToken, challenge}
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/sign-in", body: body, into: &s})
	return s, err
}

// SignOut ends the session of the client's own token.
func (c *Client) SignOut(ctx context.Context) error {
	return c.do(ctx, request{method: http.MethodDelete, path: "/v1/sign-in"})
}
