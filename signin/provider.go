package signin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 256 << 10 // bytes of metadata or keys
	maxRefusal     = 8 << 10   // bytes of an answer that is none
)

// Config is how providers are reached. The zero value asks those on the internet only.
type Config struct {
	// Private lets providers be at loopback, private and link-local addresses, and behind the proxy that the environment names.
	Private bool
	// Timeout bounds one request, 10 s when 0.
	Timeout time.Duration
}

// Provider is where people sign in, and as which client of it.
type Provider struct {
	Name     string // TENANT/NAME
	Issuer   string // exactly as in its tokens
	ClientID string
	CA       string // PEM it is verified by; the machine's own roots when empty
	// Access says that its tokens are for a service, which ClientID names, and not about somebody who just signed in (RFC 9068): they are
	// good for as long as they say, and whichever client got them.
	Access bool
}

// Metadata is what a provider says of itself (OpenID Connect Discovery 1.0, section 3; RFC 8414).
type Metadata struct {
	Authorization, Token string // URLs
	DeviceAuthorization  string // RFC 8628; empty when the provider has none
	NamesItself          bool   // its answers to a browser say who gives them (RFC 9207)
	// Client speaks to the provider and to nothing it redirects to.
	Client *http.Client

	keys string // URL
}

// Discover asks a provider for its metadata. Faults: Denied when its address must not be dialled, Conflict when it is not the provider that
// is meant, Timeout and Unavailable.
func Discover(ctx context.Context, p Provider, cfg Config) (*Metadata, error) {
	op := "signin.Discover"
	client, err := newClient(p, cfg)
	if err != nil {
		return nil, err
	}
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, client), p.Issuer)
	if other, ok := errors.AsType[*oidc.IssuerMismatchError](err); ok {
		return nil, fault.Newf(op, fault.Conflict, "the provider at %s calls itself %q", p.Issuer, clip(other.Discovered)).Because(err).
			Advise("spec.issuer of the identity provider %s must be what the provider calls itself, to the last slash", p.Name)
	}
	if err != nil {
		return nil, unreachable(op, p, err)
	}
	var said struct {
		Keys        string   `json:"jwks_uri"`
		Challenges  []string `json:"code_challenge_methods_supported"`
		NamesItself bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := found.Claims(&said); err != nil {
		return nil, fault.Newf(op, fault.Conflict, "the metadata of %s cannot be read", p.Issuer).Because(err).Advise("compare it with OpenID Connect Discovery 1.0")
	}
	at := found.Endpoint()
	m := &Metadata{Authorization: at.AuthURL, Token: at.TokenURL, DeviceAuthorization: at.DeviceAuthURL, NamesItself: said.NamesItself, Client: client, keys: said.Keys}
	for what, u := range map[string]string{"authorization_endpoint": m.Authorization, "token_endpoint": m.Token, "jwks_uri": m.keys, "device_authorization_endpoint": m.DeviceAuthorization} {
		if err := CheckURL(u); err != nil && (u != "" || what != "device_authorization_endpoint") {
			return nil, fault.Newf(op, fault.Conflict, "the %s of %s is %q", what, p.Issuer, clip(u)).Because(err).Advise("the provider's metadata must name an https URL there")
		}
	}
	if len(said.Challenges) > 0 && !slices.Contains(said.Challenges, "S256") {
		return nil, fault.Newf(op, fault.Conflict, "the provider %s does not know PKCE with S256", p.Issuer).Advise("switch it on for the client %s, or use another provider", p.ClientID)
	}
	return m, nil
}

// unreachable puts words to why a provider did not answer. What it answered instead goes to the log only.
func unreachable(op string, p Provider, err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	var slow net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return fault.Newf(op, fault.Unavailable, "interrupted before %s answered", p.Issuer).Because(err)
	case errors.As(err, &slow) && slow.Timeout():
		return fault.Newf(op, fault.Timeout, "the identity provider %s did not answer in time", p.Issuer).Because(err).Advise("try again; if it stays so, ask who runs it")
	case errors.As(err, &slow):
		return fault.Newf(op, fault.Unavailable, "the identity provider %s cannot be reached", p.Issuer).Because(err).Advise("try again; if it stays so, check spec.issuer and spec.ca of %s", p.Name)
	}
	return fault.Newf(op, fault.Unavailable, "%s does not answer as an OpenID Connect provider does", p.Issuer).Because(err).
		Advise("check spec.issuer of %s: its metadata is asked for at /.well-known/openid-configuration", p.Name)
}

// CheckURL wants an absolute https URL, or an http one that stays on this machine. Invalid otherwise.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopbackHost(u.Hostname())) {
		return fault.New("signin.CheckURL", fault.Invalid, "it is no https URL").Because(err)
	}
	return nil
}

// clip keeps what a provider or a stranger wrote from filling a message.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

func newClient(p Provider, cfg Config) (*http.Client, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.CA != "" {
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM([]byte(p.CA)) {
			return nil, fault.Newf("signin.newClient", fault.Conflict, "spec.ca of %s holds no certificate that can be read", p.Name).Advise("give it in PEM")
		}
	}
	t := &http.Transport{
		DialContext: dialer(cfg).DialContext, TLSClientConfig: trust, TLSHandshakeTimeout: cfg.Timeout, ResponseHeaderTimeout: cfg.Timeout,
		MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		DisableKeepAlives: true, // asked once an hour
	}
	if cfg.Private { // else the proxy would dial for us, whatever the address
		t.Proxy = http.ProxyFromEnvironment
	}
	return &http.Client{
		Transport: bounds{t, cfg.Timeout},
		// An answer that leads elsewhere is none: whoever wrote the issuer named this place and no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// bounds keeps requests to https, and answers to a size and a time. Answers are read before they are returned, so that nothing is left
// behind by whoever does not close them.
type bounds struct {
	next  http.RoundTripper
	limit time.Duration
}

func (b bounds) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := CheckURL(r.URL.String()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), b.limit)
	defer cancel()
	resp, err := b.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	most := maxAnswer
	if resp.StatusCode != http.StatusOK {
		most = maxRefusal
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(body) > most {
		if resp.StatusCode == http.StatusOK {
			return nil, fault.Newf("signin.RoundTrip", fault.TooLarge, "%s answered with more than %d KiB", r.URL.Host, maxAnswer>>10).Advise("check spec.issuer of the identity provider")
		}
		body = body[:most]
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
