package terminal

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/signin"
)

const (
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
	// Of RFC 8628 3.2 and 3.5: how often to ask when the provider does not say, and by how much more slowly when it says so.
	defaultInterval = 5 * time.Second
	slower          = 5 * time.Second
	slowest         = 5 * time.Minute
)

// Device signs in over a browser anywhere and returns the identity token, which carries no nonce.
func Device(ctx context.Context, cfg Config) (string, error) {
	m, err := signin.Discover(ctx, cfg.Provider, signin.Config{Private: true})
	if err != nil {
		return "", err
	}
	if m.DeviceAuthorization == "" {
		return "", fault.Newf("terminal.Device", fault.Conflict, "the provider %s offers no sign-in by device code", cfg.Provider.Issuer).
			Advise("switch it on there, or sign in over a browser: isthmus login --provider %s", cfg.Provider.Name)
	}
	ctx = oidc.ClientContext(ctx, m.Client)
	oc := cfg.oauth(m)
	d, err := oc.DeviceAuth(ctx)
	if err != nil {
		return "", refused(cfg.Provider, err)
	}
	at := d.VerificationURI
	if d.VerificationURIComplete != "" {
		at = d.VerificationURIComplete
	}
	if err := signin.CheckURL(at); err != nil { // it is opened, and a browser is not all that opens URLs
		return "", fault.Newf("terminal.Device", fault.Conflict, "%s leads to %q, which is no page", cfg.Provider.Issuer, plain(at)).Because(err).Advise("ask who runs it")
	}
	cfg.Show(Step{URL: plain(at), Code: plain(d.UserCode), Opened: cfg.Open != nil && cfg.Open(at) == nil})
	t, err := poll(ctx, cfg, oc, d)
	if err != nil {
		return "", err
	}
	return identityToken(cfg.Provider, t)
}

// poll asks until there is a token or an end (RFC 8628 3.5).
func poll(ctx context.Context, cfg Config, oc *oauth2.Config, d *oauth2.DeviceAuthResponse) (*oauth2.Token, error) {
	interval := defaultInterval
	if d.Interval > 0 {
		interval = min(time.Duration(d.Interval)*time.Second, slowest)
	}
	var lapsed <-chan time.Time
	if !d.Expiry.IsZero() {
		fired, stop := cfg.clock().After(time.Until(d.Expiry))
		defer stop()
		lapsed = fired
	}
	for {
		next, stop := cfg.clock().After(interval)
		select {
		case <-next:
		case <-lapsed:
			stop()
			return nil, said(cfg.Provider, "expired_token", "")
		case <-ctx.Done():
			stop()
			return nil, fault.New("terminal.Device", fault.Unavailable, "nobody signed in").Because(ctx.Err()).Advise("begin again: isthmus login --device")
		}
		// The library's Exchange is for codes of another sort: a parameter without a value counts as left out (RFC 6749 3.2).
		t, err := oc.Exchange(ctx, "", oauth2.SetAuthURLParam("grant_type", deviceGrant), oauth2.SetAuthURLParam("device_code", d.DeviceCode))
		var answer *oauth2.RetrieveError
		var network net.Error
		switch {
		case err == nil:
			return t, nil
		case errors.As(err, &answer) && answer.ErrorCode == "authorization_pending":
		case errors.As(err, &answer) && answer.ErrorCode == "slow_down":
			interval = min(interval+slower, slowest)
		case errors.As(err, &network) && network.Timeout(), answer != nil && answer.Response != nil && answer.Response.StatusCode >= http.StatusInternalServerError:
			interval = min(2*interval, slowest)
		default:
			return nil, refused(cfg.Provider, err)
		}
	}
}
