package provisioningclient

import (
	"context"
	"net/http"
	"net/url"
)

// Authority is a certificate of the service that groups may refer to once it is verified.
type Authority struct {
	Name        string          `json:"name"`
	ETag        string          `json:"etag"`
	Verified    bool            `json:"isVerified"`
	Code        string          `json:"verificationCode,omitempty"`
	Certificate CertificateInfo `json:"certificate"`
	Created     string          `json:"created"`
	Updated     string          `json:"updated"`
}

func authority(name string) string { return "/isthmus/v1/certificates/" + url.PathEscape(name) }

// Authorities lists them by name.
func (c *Client) Authorities(ctx context.Context) ([]Authority, error) {
	var out []Authority
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/certificates", "", nil, &out)
	return out, err
}

// PutAuthority adds a certificate in PEM when ifMatch is empty, or replaces the one of the name. verified says that the caller vouches for it.
func (c *Client) PutAuthority(ctx context.Context, name, certificate string, verified bool, ifMatch string) (Authority, error) {
	var out Authority
	err := c.call(ctx, http.MethodPut, authority(name), ifMatch, map[string]any{"certificate": certificate, "isVerified": verified}, &out)
	return out, err
}

// ChallengeAuthority returns the common name that a certificate has to have which the authority signs, as proof that the caller has its key.
func (c *Client) ChallengeAuthority(ctx context.Context, name string) (string, error) {
	var out Authority
	err := c.call(ctx, http.MethodPost, authority(name)+"/verificationcode", Any, nil, &out)
	return out.Code, err
}

// VerifyAuthority gives the certificate, in PEM, that answers ChallengeAuthority.
func (c *Client) VerifyAuthority(ctx context.Context, name, proof string) (Authority, error) {
	var out Authority
	err := c.call(ctx, http.MethodPost, authority(name)+"/verify", Any, map[string]string{"certificate": proof}, &out)
	return out, err
}

// DeleteAuthority takes one away. Conflict when a group refers to it.
func (c *Client) DeleteAuthority(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, authority(name), Any, nil, nil)
}
