package control

import "time"

// SignInProvider is what a program must know to let somebody sign in. None of it is a secret: a browser is shown the same.
type SignInProvider struct {
	Tenant   string   `json:"tenant"`
	Name     string   `json:"name"`
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"clientId"`
	Scopes   []string `json:"scopes" doc:"asked for beside openid"`
	CA       string   `json:"ca,omitempty" doc:"PEM certificates the provider is verified by; the machine's own when absent"`
}

// SignInChallenge begins a sign-in over a browser. The identity token must carry the nonce, from which the challenge cannot be told: so
// the token alone is worth nothing.
type SignInChallenge struct {
	Challenge string    `json:"challenge" doc:"kept by the program that signs in, and sent with the token; a secret"`
	Nonce     string    `json:"nonce" doc:"goes to the provider"`
	Expires   time.Time `json:"expires"`
}

// SignInRequest shows an identity token of a provider.
type SignInRequest struct {
	Tenant    string `json:"tenant" example:"ot"`
	Provider  string `json:"provider" doc:"its name" example:"corp"`
	IDToken   string `json:"idToken" doc:"as the provider gave it, in compact form"`
	Challenge string `json:"challenge,omitempty" doc:"whose nonce the token carries; absent for one that came by a device code, which carries none"`
}

// SignedIn is a session that has begun. Secret is shown this once.
type SignedIn struct {
	Secret string `json:"secret" doc:"the token of the session"`
	Token  Token  `json:"token"`
	Person Person `json:"person"`
}
