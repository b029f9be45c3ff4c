package hub

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Identity is a device that proved who it is.
type Identity struct {
	Device     string
	Generation string
	Method     string    // how it proved it, as the iothub-connection-auth-method stamp says it
	Expires    time.Time // when the proof ends
	signer     signer
}

const (
	methodDevice = `{"scope":"device","type":"sas","issuer":"iothub"}`
	methodHub    = `{"scope":"hub","type":"sas","issuer":"iothub"}`
)

// Authenticate checks a device's SAS token, made with one of its own keys or with that of a policy which has DeviceConnect. Faults:
// NotFound (no such device), Unauthenticated (token unreadable or signed by another key), Expired, Denied (disabled, or a good token
// for something else).
func (h *Hub) Authenticate(ctx context.Context, device, token string) (Identity, error) {
	op := "hub.Authenticate"
	if err := validDeviceID(device); err != nil {
		return Identity{}, err
	}
	t, err := sas.Parse(token)
	if err != nil {
		return Identity{}, err
	}
	var by signer
	if t.Policy != "" { // before anything is said about the device
		if by, err = h.policyMay(t, DeviceConnect); err != nil {
			return Identity{}, err
		}
	}
	d, err := h.server.store.Device(ctx, h.id, device)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			err = fault.Newf(op, fault.NotFound, "the hub has no device %q", device).Advise("create it: isthmus hub device create %s", device)
		}
		return Identity{}, err
	}
	id := Identity{Device: d.ID, Generation: d.Generation, Method: methodDevice, Expires: t.Expires, signer: by}
	if t.Policy != "" {
		id.Method = methodHub
	} else if own, ok := signerOf(t, d.PrimaryKey, d.SecondaryKey); ok && d.AuthType == AuthSAS {
		id.signer = own
	} else {
		return Identity{}, WrongKey(d.ID)
	}
	if !t.Covers(h.HostNames(), "devices/"+d.ID) {
		return Identity{}, fault.Newf(op, fault.Denied, "the token is for another resource than device %q of %s", d.ID, h.HostName()).
			Advise("sign sr=%s/devices/%s", h.HostName(), d.ID)
	}
	if err := h.fresh(t); err != nil {
		return Identity{}, err
	}
	return id, mayConnect(d)
}

// WrongKey is what one is told whose token no key of the device has made.
func WrongKey(device string) error {
	return fault.Newf("hub.Authenticate", fault.Unauthenticated, "the token of device %q is not signed with one of its keys", device).
		Advise("give the device its connection string again: isthmus hub device connection-string %s", device)
}

func mayConnect(d hubstore.Device) error {
	if d.Status == hubstore.Enabled {
		return nil
	}
	return fault.Newf("hub.Authenticate", fault.Denied, "device %q is disabled", d.ID).Advise("enable it in the registry")
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
	p, ok := (*h.policies.Load())[t.Policy]
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
