package localhub

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Hubs are the hubs of one process.
type Hubs struct{ server *hub.Server }

var _ provisioning.Hubs = Hubs{}

// New returns the hubs of a server.
func New(server *hub.Server) Hubs { return Hubs{server} }

// Names implements [provisioning.Hubs].
func (a Hubs) Names(service string) []string {
	own, ok := a.server.ByName(service)
	if !ok {
		return nil
	}
	var out []string
	for _, h := range a.server.Hubs() {
		if h.Type() == resource.TypeIoTHub && tenant(h) == tenant(own) {
			out = append(out, h.HostName())
		}
	}
	slices.Sort(out)
	return out
}

// tenant is the first part of a hub's full name.
func tenant(h *hub.Hub) string {
	t, _, _ := strings.Cut(h.Name(), "/")
	return t
}

// Hub implements [provisioning.Hubs].
func (a Hubs) Hub(service, host string) (provisioning.Hub, error) {
	h, ok := a.server.ByHost(host)
	if !ok || !slices.Contains(a.Names(service), h.HostName()) {
		return nil, fault.Newf("localhub.Hub", fault.NotFound, "no hub %q of this tenant is served here", host).Advise("link it by its connection string")
	}
	return Hub{h}, nil
}

// Hub is one of them.
type Hub struct{ hub *hub.Hub }

// Assign implements [provisioning.Hub].
func (h Hub) Assign(ctx context.Context, d provisioning.Device, t provisioning.Twin, mode provisioning.Mode) (provisioning.Keys, error) {
	old, err := h.hub.Device(ctx, d.ID)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return h.create(ctx, d, t)
	}
	if err != nil {
		return provisioning.Keys{}, err
	}
	now, err := h.update(ctx, old, d)
	if err != nil {
		return provisioning.Keys{}, err
	}
	switch {
	case mode == provisioning.Reset:
		var first func(*hubstore.Tx, hubstore.Device) error
		if first, err = h.first(t, "{}"); err == nil {
			err = h.change(ctx, hub.Change{Device: hubstore.Device{ID: d.ID}, Mode: hub.UpdateTwin, Twin: first})
		}
	case mode == provisioning.Merge && (t.Tags != nil || t.Desired != nil):
		_, err = h.hub.PatchTwin(ctx, now.Name(), text(provisioning.Twin{Tags: t.Tags, Desired: t.Desired}, ""), hub.AnyETag)
	}
	return keys(now), err
}

func (h Hub) create(ctx context.Context, d provisioning.Device, t provisioning.Twin) (provisioning.Keys, error) {
	first, err := h.first(t, "")
	if err != nil {
		return provisioning.Keys{}, err
	}
	results, err := h.hub.ChangeDevices(ctx, []hub.Change{{Device: identity(d), Mode: hub.Create, Twin: first}})
	if err != nil {
		return provisioning.Keys{}, err
	}
	return keys(results[0].Device), results[0].Err
}

// update makes an identity prove itself as is wanted now; what else is known of it stays.
func (h Hub) update(ctx context.Context, old hub.Device, d provisioning.Device) (hub.Device, error) {
	want := identity(d)
	if want.AuthType == hub.AuthSAS && want.PrimaryKey == "" && old.AuthType == hub.AuthSAS {
		want.PrimaryKey, want.SecondaryKey = old.PrimaryKey, old.SecondaryKey
	}
	next := old.Device
	next.AuthType, next.PrimaryKey, next.SecondaryKey = want.AuthType, want.PrimaryKey, want.SecondaryKey
	next.PrimaryThumbprint, next.SecondaryThumbprint, next.Edge = want.PrimaryThumbprint, want.SecondaryThumbprint, want.Edge
	if next == old.Device {
		return old, nil
	}
	return h.hub.UpdateDevice(ctx, next, hub.AnyETag)
}

func (h Hub) change(ctx context.Context, c hub.Change) error {
	results, err := h.hub.ChangeDevices(ctx, []hub.Change{c})
	if err != nil {
		return err
	}
	return results[0].Err
}

// first makes a twin be t; a part that t has not is absent, or stands for absent.
func (h Hub) first(t provisioning.Twin, absent string) (func(*hubstore.Tx, hubstore.Device) error, error) {
	if t.Tags == nil && t.Desired == nil && t.Reported == nil && absent == "" {
		return nil, nil
	}
	return h.hub.FirstTwin(text(t, absent))
}

// text is a twin as JSON.
func text(t provisioning.Twin, absent string) []byte {
	part := func(b json.RawMessage) json.RawMessage {
		if b == nil && absent != "" {
			return json.RawMessage(absent)
		}
		return b
	}
	type properties struct {
		Desired  json.RawMessage `json:"desired,omitempty"`
		Reported json.RawMessage `json:"reported,omitempty"`
	}
	b, _ := json.Marshal(struct { // the parts are JSON: they were read as such
		Tags       json.RawMessage `json:"tags,omitempty"`
		Properties properties      `json:"properties"`
	}{part(t.Tags), properties{part(t.Desired), part(t.Reported)}})
	return b
}

func identity(d provisioning.Device) hubstore.Device {
	out := hubstore.Device{ID: d.ID, Status: hubstore.Enabled, AuthType: hub.AuthSAS, PrimaryKey: d.PrimaryKey, SecondaryKey: d.SecondaryKey, Edge: d.Edge}
	if d.X509 {
		out.AuthType, out.PrimaryKey, out.SecondaryKey = hub.AuthSelfSigned, "", ""
		out.PrimaryThumbprint, out.SecondaryThumbprint = d.PrimaryThumbprint, d.SecondaryThumbprint
	}
	return out
}

func keys(d hub.Device) provisioning.Keys {
	if d.AuthType != hub.AuthSAS {
		return provisioning.Keys{}
	}
	return provisioning.Keys{Primary: d.PrimaryKey, Secondary: d.SecondaryKey}
}

// Twin implements [provisioning.Hub].
func (h Hub) Twin(ctx context.Context, device string) (provisioning.Twin, error) {
	t, err := h.hub.Twin(ctx, hub.Name{Device: device})
	if err != nil {
		return provisioning.Twin{}, err
	}
	return provisioning.Twin{Tags: part(t.Tags), Desired: part(t.Desired.Text), Reported: part(t.Reported.Text)}, nil
}

func part(s string) json.RawMessage {
	if s == "" || s == "{}" {
		return nil
	}
	return json.RawMessage(s)
}

// Release implements [provisioning.Hub].
func (h Hub) Release(ctx context.Context, device string) error {
	err := h.hub.DeleteDevice(ctx, device, hub.AnyETag)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}
