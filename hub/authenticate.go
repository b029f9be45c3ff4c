package hub

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Identity is a device, or a module, that proved who it is.
type Identity struct {
	Device     string
	Module     string // empty for the device itself
	Generation string
	Method     string    // how it proved it, as the iothub-connection-auth-method stamp says it
	Expires    time.Time // when the proof ends; zero for a certificate of its own, which the registry alone takes back
	signer     signer
}

// Name returns which identity it is.
func (i Identity) Name() Name { return Name{Device: i.Device, Module: i.Module} }

// Credentials are what a peer shows to prove who it is: a SAS token, or the certificates of its TLS, its own first.
type Credentials struct {
	Token        string
	Certificates []*x509.Certificate
}

// method is the text of the stamp.
func method(scope, kind string) string {
	return `{"scope":"` + scope + `","type":"` + kind + `","issuer":"iothub"}`
}

func (n scopeOf) String() string {
	if n.Module != "" {
		return "module"
	}
	return "device"
}

type scopeOf Name

// Authenticate checks a device's SAS token, made with one of its own keys or with that of a policy which has DeviceConnect. Faults:
// NotFound (no such device), Unauthenticated (token unreadable or signed by another key), Expired, Denied (disabled, or a good token
// for something else).
func (h *Hub) Authenticate(ctx context.Context, device, token string) (Identity, error) {
	return h.Prove(ctx, Name{Device: device}, Credentials{Token: token})
}

// Prove checks who a peer is that wants to be the identity n: by its token when it sent one, by its certificate otherwise. Faults are
// those of Authenticate; a module may connect only while its device may.
func (h *Hub) Prove(ctx context.Context, n Name, c Credentials) (Identity, error) {
	if err := validName(n); err != nil {
		return Identity{}, err
	}
	if c.Token == "" {
		return h.proveByCertificate(ctx, n, c.Certificates)
	}
	t, err := sas.Parse(c.Token)
	if err != nil {
		return Identity{}, err
	}
	var by signer
	if t.Policy != "" { // before anything is said about the device
		if by, err = h.policyMay(t, DeviceConnect); err != nil {
			return Identity{}, err
		}
	}
	d, err := h.known(ctx, n)
	if err != nil {
		if t.Policy == "" {
			signerOf(t, nobodysKey, nobodysKey) // so that it takes as long as with a wrong key
		}
		return Identity{}, err
	}
	id := Identity{n.Device, n.Module, d.Generation, method(scopeOf(n).String(), "sas"), t.Expires, by}
	if t.Policy != "" {
		id.Method = method("hub", "sas")
	} else if own, ok := signerOf(t, d.PrimaryKey, d.SecondaryKey); ok && d.AuthType == AuthSAS {
		id.signer = own
	} else {
		return Identity{}, WrongKey(n)
	}
	if !t.Covers(h.HostNames(), path(n)) {
		return Identity{}, fault.Newf("hub.Authenticate", fault.Denied, "the token is for another resource than %s of %s", n.Words(), h.HostName()).
			Advise("sign sr=%s/%s", h.HostName(), path(n))
	}
	if err := h.fresh(t); err != nil {
		return Identity{}, err
	}
	return id, h.mayConnect(ctx, d)
}

// nobodysKey has the form of a device's key.
const nobodysKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// path is the resource that a token of the identity covers.
func path(n Name) string {
	if n.IsModule() {
		return "devices/" + n.Device + "/modules/" + n.Module
	}
	return "devices/" + n.Device
}

// known reads an identity that wants to connect.
func (h *Hub) known(ctx context.Context, n Name) (hubstore.Device, error) {
	d, err := h.server.store.Device(ctx, h.id, n)
	if fault.KindOf(err) != fault.NotFound || err == nil {
		return d, err
	}
	words := fault.Newf("hub.Authenticate", fault.NotFound, "the hub has no %s", n.Words())
	if n.IsModule() {
		return d, code.With(words.Advise("create it: isthmus hub module create %s %s", n.Device, n.Module), code.ModuleNotFound)
	}
	return d, words.Advise("create it: isthmus hub device create %s", n.Device)
}

// WrongKey is what one is told whose token no key of the identity has made.
func WrongKey(n Name) error {
	return fault.Newf("hub.Authenticate", fault.Unauthenticated, "the token of %s is not signed with one of its keys", n.Words()).
		Advise("give the device its connection string again: isthmus hub device connection-string %s", n.Device)
}

// mayConnect tells whether an identity may: a module's device decides for it too.
func (h *Hub) mayConnect(ctx context.Context, d hubstore.Device) error {
	if d.Status == hubstore.Enabled && d.Module != "" {
		var err error
		if d, err = h.server.store.Device(ctx, h.id, Name{Device: d.ID}); err != nil {
			return err
		}
	}
	if d.Status == hubstore.Enabled {
		return nil
	}
	return fault.Newf("hub.Authenticate", fault.Denied, "%s is disabled", d.Name().Words()).Advise("enable it in the registry")
}

// Authorize checks a service's SAS token: a policy's, covering the hub, with the right needed. It returns the policy's name and when
// the token ends.
func (h *Hub) Authorize(token string, need Right) (policy string, expires time.Time, err error) {
	t, err := sas.Parse(token)
	if err != nil {
		return "", time.Time{}, err
	}
	if t.Policy == "" {
		return "", time.Time{}, fault.New("hub.Authorize", fault.Unauthenticated, "the token names no policy (skn)").
			Advise("use the connection string of a policy, such as %s", PolicyService)
	}
	if _, err := h.policyMay(t, need); err != nil {
		return "", time.Time{}, err
	}
	if !t.Covers(h.HostNames(), "") {
		return "", time.Time{}, fault.Newf("hub.Authorize", fault.Denied, "the token is for another resource than %s", h.HostName()).Advise("sign sr=%s", h.HostName())
	}
	return t.Policy, t.Expires, h.fresh(t)
}

// policyMay checks the signature first, so that nobody without a key learns what a policy may do.
func (h *Hub) policyMay(t sas.Token, need Right) (signer, error) {
	if h.KeysOff() {
		return signer{}, h.keysAreOff("hub.Authorize")
	}
	p, ok := (*h.policies.Load())[t.Policy]
	if !ok {
		signerOf(t, nobodysKey, nobodysKey) // so that it takes as long as with a wrong key
	}
	by, signed := signerOf(t, p.PrimaryKey, p.SecondaryKey)
	if !signed || !ok {
		return signer{}, fault.Newf("hub.Authorize", fault.Unauthenticated, "the token is not signed with a key of policy %q", shorten(t.Policy)).
			Advise("copy the policy's connection string again; its key may have been renewed")
	}
	if Right(p.Rights)&need != need {
		return signer{}, fault.Newf("hub.Authorize", fault.Denied, "policy %s does not have %s", p.Name, need).Advise("use a policy that has it, such as %s", PolicyOwner)
	}
	return by, nil
}

func (h *Hub) fresh(t sas.Token) error {
	now := h.server.clock.Now()
	if now.Before(t.Expires) {
		return nil
	}
	return fault.Newf("hub.Authenticate", fault.Expired, "the token ended %s ago", now.Sub(t.Expires).Round(time.Second)).
		Advise("make a new one, and compare the clocks of both machines if it was just made")
}
