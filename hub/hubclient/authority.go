package hubclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Authority is a certificate authority that vouches for devices, once it is verified.
type Authority struct {
	Name        string    `json:"name"`
	ETag        string    `json:"etag"`
	Subject     string    `json:"subject"`
	Thumbprint  string    `json:"thumbprint"` // SHA-256, in hexadecimal digits
	NotAfter    time.Time `json:"notAfter"`
	Verified    bool      `json:"verified"`
	Certificate string    `json:"certificate"` // PEM
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"`
}

func authority(name string) string { return "/isthmus/v1/authorities/" + url.PathEscape(name) }

// Authorities lists them by name.
func (c *Client) Authorities(ctx context.Context) ([]Authority, error) {
	var out []Authority
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/authorities", nil, "", nil, &out)
	return out, err
}

// Authority reads one. NotFound when there is none.
func (c *Client) Authority(ctx context.Context, name string) (Authority, error) {
	var out Authority
	err := c.call(ctx, http.MethodGet, authority(name), nil, "", nil, &out)
	return out, err
}

// AddAuthority adds a certificate in PEM, or replaces the one of the name. verified says that the caller vouches for it; else devices are let
// in after VerifyAuthority only.
func (c *Client) AddAuthority(ctx context.Context, name, certificate string, verified bool) (Authority, error) {
	var out Authority
	err := c.call(ctx, http.MethodPut, authority(name), nil, "", map[string]any{"certificate": certificate, "verified": verified}, &out)
	return out, err
}

// ChallengeAuthority returns the common name that a certificate has to have which the authority signs, as proof that the caller has its key.
func (c *Client) ChallengeAuthority(ctx context.Context, name string) (string, error) {
	var out struct {
		Code string `json:"verificationCode"`
	}
	err := c.call(ctx, http.MethodPost, authority(name)+"/challenge", nil, "", nil, &out)
	return out.Code, err
}

// VerifyAuthority gives the certificate, in PEM, that answers ChallengeAuthority.
func (c *Client) VerifyAuthority(ctx context.Context, name, proof string) (Authority, error) {
	var out Authority
	err := c.call(ctx, http.MethodPost, authority(name)+"/verify", nil, "", map[string]string{"certificate": proof}, &out)
	return out, err
}

// DeleteAuthority takes one away. cut is how many devices it had vouched for that were connected.
func (c *Client) DeleteAuthority(ctx context.Context, name string) (cut int, err error) {
	var out struct{ Cut int }
	err = c.call(ctx, http.MethodDelete, authority(name), nil, "", nil, &out)
	return out.Cut, err
}
