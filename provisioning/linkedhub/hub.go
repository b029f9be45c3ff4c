package linkedhub

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"strings"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning"
)

// client is what is used of a hub's API; *hubclient.Client is one.
type client interface {
	Device(ctx context.Context, id string) (hubclient.Device, error)
	Create(ctx context.Context, d hubclient.Device) (hubclient.Device, error)
	Update(ctx context.Context, d hubclient.Device, ifMatch string) (hubclient.Device, error)
	Delete(ctx context.Context, id, ifMatch string) error
	Twin(ctx context.Context, id string) (hubclient.Twin, error)
	PatchTwin(ctx context.Context, id string, t hubclient.Twin, ifMatch string) (hubclient.Twin, error)
	ReplaceTwin(ctx context.Context, id string, t hubclient.Twin, ifMatch string) (hubclient.Twin, error)
	Close()
}

// Hub is a hub elsewhere.
type Hub struct{ client client }

var _ provisioning.RemoteHub = (*Hub)(nil)

// Dial returns what [provisioning.Config].Dial is. Nothing is dialled before a device is assigned. roots are the authorities that may
// sign hubs' certificates, nil for the system's.
func Dial(roots *x509.CertPool, clk clock.Clock) func(service string, c sas.ConnectionString) (provisioning.RemoteHub, error) {
	return func(_ string, c sas.ConnectionString) (provisioning.RemoteHub, error) {
		hc, err := hubclient.New(hubclient.Config{Connection: c, Roots: roots}, clk)
		if err != nil {
			return nil, err
		}
		return New(hc), nil
	}
}

// New returns a hub over its client.
func New(c client) *Hub { return &Hub{c} }

// Close ends idle connections.
func (h *Hub) Close() { h.client.Close() }

// Assign implements [provisioning.Hub]. Reported properties are not carried to another hub: its API lets nobody write them.
func (h *Hub) Assign(ctx context.Context, d provisioning.Device, t provisioning.Twin, mode provisioning.Mode) (provisioning.Keys, error) {
	wanted := identity(d)
	old, err := h.client.Device(ctx, d.ID)
	made := false
	switch {
	case fault.KindOf(err) == fault.NotFound && err != nil:
		made = true
		if old, err = h.client.Create(ctx, wanted); err != nil {
			return provisioning.Keys{}, refused(err)
		}
	case err != nil:
		return provisioning.Keys{}, refused(err)
	case !same(old, wanted):
		if d.PrimaryKey == "" && !d.X509 {
			wanted.Authentication = old.Authentication // the hub keeps the keys it has
			if old.Authentication == nil || old.Authentication.Type != "sas" {
				wanted.Authentication = &hubclient.Auth{Type: "sas"}
			}
		}
		wanted.Status, wanted.StatusReason = old.Status, old.StatusReason
		if old, err = h.client.Update(ctx, wanted, hubclient.Any); err != nil {
			return provisioning.Keys{}, refused(err)
		}
	}
	twin := hubclient.Twin{Tags: t.Tags, Properties: hubclient.TwinProperties{Desired: t.Desired}}
	empty := t.Tags == nil && t.Desired == nil
	switch {
	case mode == provisioning.Reset:
		twin.Tags, twin.Properties.Desired = orEmpty(t.Tags), orEmpty(t.Desired)
		_, err = h.client.ReplaceTwin(ctx, d.ID, twin, hubclient.Any)
	case (mode == provisioning.Merge || made) && !empty:
		_, err = h.client.PatchTwin(ctx, d.ID, twin, hubclient.Any)
	}
	if err != nil {
		return provisioning.Keys{}, refused(err)
	}
	if a := old.Authentication; a != nil && a.Keys != nil && !d.X509 {
		return provisioning.Keys{Primary: a.Keys.Primary, Secondary: a.Keys.Secondary}, nil
	}
	return provisioning.Keys{}, nil
}

func orEmpty(r json.RawMessage) json.RawMessage {
	if r == nil {
		return json.RawMessage("{}")
	}
	return r
}

// identity is a device as the hub's API has it.
func identity(d provisioning.Device) hubclient.Device {
	out := hubclient.Device{ID: d.ID, Status: "enabled", Authentication: &hubclient.Auth{Type: "sas"}, Capabilities: &hubclient.Capabilities{IoTEdge: d.Edge}}
	if d.X509 {
		out.Authentication = &hubclient.Auth{Type: "selfSigned", Thumbprints: &hubclient.Thumbprints{Primary: d.PrimaryThumbprint, Secondary: d.SecondaryThumbprint}}
	} else if d.PrimaryKey != "" {
		out.Authentication.Keys = &hubclient.Keys{Primary: d.PrimaryKey, Secondary: d.SecondaryKey}
	}
	return out
}

// same tells whether a device needs no change to be the one wanted.
func same(have, want hubclient.Device) bool {
	a, b := have.Authentication, want.Authentication
	if a == nil || a.Type != b.Type || (have.Capabilities != nil && have.Capabilities.IoTEdge) != want.Capabilities.IoTEdge {
		return false
	}
	if b.Keys != nil && (a.Keys == nil || *a.Keys != *b.Keys) {
		return false
	}
	return b.Thumbprints == nil || a.Thumbprints != nil &&
		strings.EqualFold(a.Thumbprints.Primary, b.Thumbprints.Primary) && strings.EqualFold(a.Thumbprints.Secondary, b.Thumbprints.Secondary)
}

// Twin implements [provisioning.Hub].
func (h *Hub) Twin(ctx context.Context, device string) (provisioning.Twin, error) {
	t, err := h.client.Twin(ctx, device)
	if err != nil {
		return provisioning.Twin{}, refused(err)
	}
	out := provisioning.Twin{Tags: t.Tags}
	if out.Desired, err = plain(t.Properties.Desired); err == nil {
		out.Reported, err = plain(t.Properties.Reported)
	}
	return out, err
}

// plain takes away what the hub adds to properties.
func plain(text json.RawMessage) (json.RawMessage, error) {
	if len(text) == 0 || bytes.Equal(text, []byte("null")) {
		return nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fault.New("linkedhub.Twin", fault.Unavailable, "the hub's answer is no twin").Because(err)
	}
	delete(object, "$metadata")
	delete(object, "$version")
	b, err := json.Marshal(object)
	return b, fault.Wrap("linkedhub.Twin", fault.Internal, err, "")
}

// Release implements [provisioning.Hub].
func (h *Hub) Release(ctx context.Context, device string) error {
	if err := h.client.Delete(ctx, device, hubclient.Any); err != nil && fault.KindOf(err) != fault.NotFound {
		return refused(err)
	}
	return nil
}

// refused says whose error it is. What the hub says of a device goes to the log only: it is the operator's hub, not the device's.
func refused(err error) error {
	kind := fault.KindOf(err)
	words := "the linked hub refused the device"
	switch kind {
	case fault.NotFound:
		words = "the linked hub has no such device"
	case fault.Unavailable, fault.Timeout, fault.Exhausted:
		kind, words = fault.Unavailable, "the linked hub cannot be reached, or has too much to do"
	case fault.Unauthenticated, fault.Denied:
		kind, words = fault.Denied, "the linked hub does not accept the connection string it was linked with"
	}
	return fault.Wrap("linkedhub", kind, err, words)
}
