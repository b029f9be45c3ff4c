package control

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/access/webhook"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

const (
	maxWebhooks  = 10 // of a tenant
	maxURL       = 1000
	secretPrefix = "isthmus_webhook_" //nolint:gosec // what secrets begin with is none
)

// sealedWebhook is what only a process with the deployment's authority may read: chat tools put secrets into addresses.
type sealedWebhook struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

func webhookPurpose(id, tenant string) string { return "webhook " + id + " of " + tenant }

func keyOfWebhook(h store.Webhook) resource.Key {
	return resource.Key{Kind: "Webhook", Tenant: h.Tenant, Name: h.ID}
}

// CreateWebhook has events of a tenant's targets and people sent to an address; the secret that signs them is shown this once. For owners.
func (c *Control) CreateWebhook(ctx context.Context, p Principal, r WebhookRequest) (secret string, h Webhook, err error) {
	op := "control.CreateWebhook"
	if err := p.mayOwn(op); err != nil {
		return "", Webhook{}, err
	}
	if r.Tenant == "" {
		r.Tenant = p.Tenant
	}
	if !p.sees(r.Tenant) || r.Tenant == "" {
		return "", Webhook{}, noSuch(op, tenantKey(r.Tenant))
	}
	u, err := c.checkWebhook(op, r)
	if err != nil {
		return "", Webhook{}, err
	}
	if len(r.Events) == 0 {
		r.Events = webhook.Names()
	}
	secret = secretPrefix + letters(52) // 260 bits
	kept := store.Webhook{ID: letters(12), Tenant: r.Tenant, Shown: masked(u), Events: r.Events, MadeBy: p.Who()}
	err = c.update(ctx, p.Who(), "", func(w *work) error {
		if err := w.mustExist(op, tenantKey(r.Tenant)); err != nil {
			return err
		}
		list, err := w.Webhooks(r.Tenant)
		if err != nil {
			return err
		}
		if len(list) >= maxWebhooks {
			return fault.Newf(op, fault.Exhausted, "the tenant has %d webhooks already", len(list)).Advise("delete one: isthmus access webhook list")
		}
		plain, err := json.Marshal(sealedWebhook{u.String(), secret}) //nolint:gosec // it is sealed before it is kept
		if err != nil {
			return fault.Wrap(op, fault.Internal, err, "")
		}
		if kept.Sealed, err = c.seal(webhookPurpose(kept.ID, kept.Tenant), plain); err != nil {
			return err
		}
		kept.Created = w.now
		if err := w.AddWebhook(kept); err != nil {
			return err
		}
		return w.record(r.Tenant, "create", keyOfWebhook(kept), nil, map[string]any{"url": kept.Shown, "events": kept.Events})
	})
	if err != nil {
		return "", Webhook{}, err
	}
	return secret, viewWebhook(kept), nil
}

// checkWebhook reads the address and the events.
func (c *Control) checkWebhook(op string, r WebhookRequest) (*url.URL, error) {
	bad := func(why string) error {
		return fault.Newf(op, fault.Invalid, "the webhook's address cannot be used: %s", why).Advise("give one such as https://chat.example.net/hooks/isthmus")
	}
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || len(r.URL) > maxURL || u.Hostname() == "":
		return nil, bad("it cannot be read")
	case u.User != nil || u.Fragment != "":
		return nil, bad("a user or a fragment does not belong into it")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, bad("without TLS only a loopback address is sent to")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, bad("it does not begin with https://")
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil || isLoopback(u.Hostname()) {
		if err != nil {
			a = netip.IPv6Loopback()
		}
		if err := c.maySendTo(a); err != nil {
			return nil, err
		}
	}
	for i, e := range r.Events {
		if !webhook.Known(e) || slices.Contains(r.Events[:i], e) {
			return nil, fault.Newf(op, fault.Invalid, "%q is no event, or stands there twice", printable(e)).Advise("events are %s", strings.Join(webhook.Names(), ", "))
		}
	}
	return u, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// maySendTo refuses addresses by which an owner of one tenant could look around in the control plane's own network.
func (c *Control) maySendTo(a netip.Addr) error {
	if c.cfg.WebhookPrivate || public(a) {
		return nil
	}
	return fault.Newf("control.maySendTo", fault.Denied, "webhooks do not go to %s, which is no public address", a).
		Advise("use an address that is reached over the internet; the operator of the server may allow others with --private-webhooks")
}

// notPublic are ranges that are no place on the internet, beside those that the address itself tells (RFC 6890 and the IANA registries).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("::/96"),
}

// public tells whether an address is one of the internet's.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// masked is an address without what may be a secret in it.
func masked(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return shown.String() + "/…"
	}
	return shown.String()
}

func viewWebhook(h store.Webhook) Webhook {
	return Webhook{ID: h.ID, Tenant: h.Tenant, URL: h.Shown, Events: h.Events, CreatedAt: h.Created, CreatedBy: h.MadeBy, State: h.State, Waiting: h.Waiting}
}

// Webhooks lists the webhooks of the principal's reach, without what is secret in their addresses. For owners.
func (c *Control) Webhooks(ctx context.Context, p Principal) ([]Webhook, error) {
	if err := p.mayOwn("control.Webhooks"); err != nil {
		return nil, err
	}
	var out []Webhook
	err := c.store.View(ctx, func(tx *store.Tx) error {
		list, err := tx.Webhooks(p.Tenant)
		for _, h := range list {
			out = append(out, viewWebhook(h))
		}
		return err
	})
	return out, err
}

func (tx ownWebhooks) find(op string, p Principal, id string) (store.Webhook, error) {
	h, ok, err := tx.Webhook(id)
	if err == nil && (!ok || !p.sees(h.Tenant)) {
		err = fault.Newf(op, fault.NotFound, "there is no webhook %q", printable(id)).Advise("list them with: isthmus access webhook list")
	}
	return h, err
}

// ownWebhooks finds webhooks for a principal.
type ownWebhooks struct{ *store.Tx }

// DeleteWebhook stops sending events to an address; what waits for it is forgotten. For owners.
func (c *Control) DeleteWebhook(ctx context.Context, p Principal, id string) error {
	op := "control.DeleteWebhook"
	if err := p.mayOwn(op); err != nil {
		return err
	}
	return c.update(ctx, p.Who(), "", func(w *work) error {
		h, err := ownWebhooks{w.Tx}.find(op, p, id)
		if err != nil {
			return err
		}
		if err := w.RemoveWebhook(id); err != nil {
			return err
		}
		return w.record(h.Tenant, "delete", keyOfWebhook(h), map[string]any{"url": h.Shown, "events": h.Events}, nil)
	})
}

// leaveWebhooks forgets those of a tenant that goes.
func (w *work) leaveWebhooks(tenant string) error {
	list, err := w.Webhooks(tenant)
	if err != nil {
		return err
	}
	for _, h := range list {
		if err := w.RemoveWebhook(h.ID); err != nil {
			return err
		}
	}
	return nil
}

// TestWebhook sends an event to try an address, and waits for the answer. Unavailable says what went wrong. For owners.
func (c *Control) TestWebhook(ctx context.Context, p Principal, id string) error {
	op := "control.TestWebhook"
	if err := p.mayOwn(op); err != nil {
		return err
	}
	if wait := c.passes.Take("webhook " + p.Who()); wait > 0 {
		return tooOften(op, p.Who()+" tried webhooks too often", wait)
	}
	var h store.Webhook
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		h, err = ownWebhooks{tx}.find(op, p, id)
		return err
	}); err != nil {
		return err
	}
	e := webhook.Event{ID: newUID(), Event: webhook.Test, At: c.clock.Now().UTC(), Tenant: h.Tenant, By: p.Who(), Text: chat(p.Who() + " tries this webhook")}
	body, err := json.Marshal(e)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	return c.send(ctx, h, e.ID, body)
}

// dialPublic is a net.Dialer's ControlContext: it looks at the address that a name led to, after the resolver and before the first packet.
func (c *Control) dialPublic(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	return c.maySendTo(a)
}
