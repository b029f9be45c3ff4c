package provisioningtest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
)

// Hubs are hubs of the same process, which remember what they were told.
type Hubs struct {
	mu   sync.Mutex // guards the fields below and those of the hubs
	hubs map[string]*Hub
}

// Hub is one of them.
type Hub struct {
	all     *Hubs
	devices map[string]Device
	fail    error
	gate    chan struct{} // when not nil, Assign waits until it is closed
	asked   chan string   // gets the id of every device assigned, while it has room
}

// Device is what a hub was told of a device.
type Device struct {
	provisioning.Device
	provisioning.Keys
	Twin provisioning.Twin
}

// NewHubs returns hubs with these host names.
func NewHubs(hosts ...string) *Hubs {
	h := &Hubs{hubs: map[string]*Hub{}}
	for _, host := range hosts {
		h.Add(host)
	}
	return h
}

// Add adds a hub.
func (h *Hubs) Add(host string) *Hub {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hubs[host] = &Hub{all: h, devices: map[string]Device{}, asked: make(chan string, 1000)}
	return h.hubs[host]
}

// Remove takes a hub away.
func (h *Hubs) Remove(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.hubs, host)
}

// Get returns a hub.
func (h *Hubs) Get(host string) *Hub {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hubs[host]
}

// Names implements provisioning.Hubs.
func (h *Hubs) Names(string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.hubs))
}

// Hub implements provisioning.Hubs.
func (h *Hubs) Hub(_, host string) (provisioning.Hub, error) {
	if found := h.Get(host); found != nil {
		return found, nil
	}
	return nil, fault.New("provisioningtest.Hub", fault.NotFound, "no such hub")
}

// Fail makes every call of the hub fail with err, until it is nil.
func (h *Hub) Fail(err error) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	h.fail = err
}

// Hold makes Assign wait until release is called, which may be done more than once.
func (h *Hub) Hold() (release func()) {
	gate := make(chan struct{})
	h.all.mu.Lock()
	h.gate = gate
	h.all.mu.Unlock()
	return sync.OnceFunc(func() {
		h.all.mu.Lock()
		h.gate = nil
		h.all.mu.Unlock()
		close(gate)
	})
}

// Asked gets the id of a device when Assign begins with it.
func (h *Hub) Asked() <-chan string { return h.asked }

// Device returns what the hub has of a device.
func (h *Hub) Device(id string) (Device, bool) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	d, ok := h.devices[id]
	return d, ok
}

// Put sets what the hub has of a device.
func (h *Hub) Put(d Device) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	h.devices[d.ID] = d
}

// Len returns how many devices there are.
func (h *Hub) Len() int {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	return len(h.devices)
}

// Assign implements provisioning.Hub.
func (h *Hub) Assign(ctx context.Context, d provisioning.Device, t provisioning.Twin, mode provisioning.Mode) (provisioning.Keys, error) {
	select {
	case h.asked <- d.ID:
	default:
	}
	h.all.mu.Lock()
	gate := h.gate
	h.all.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return provisioning.Keys{}, fault.Wrap("provisioningtest.Assign", fault.Timeout, ctx.Err(), "held")
		}
	}
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	if h.fail != nil {
		return provisioning.Keys{}, h.fail
	}
	old, had := h.devices[d.ID]
	now := Device{Device: d, Twin: old.Twin, Keys: provisioning.Keys{Primary: d.PrimaryKey, Secondary: d.SecondaryKey}}
	if d.PrimaryKey == "" && !d.X509 {
		if now.Keys = old.Keys; now.Primary == "" {
			now.Keys = provisioning.Keys{Primary: "bWFkZSBieSB0aGUgaHViIGZvciBhIFRQTQ==", Secondary: "dGhlIG90aGVyIG9uZQ=="}
		}
	}
	switch {
	case mode == provisioning.Reset || !had:
		now.Twin = t
	case mode == provisioning.Merge:
		now.Twin.Tags, now.Twin.Desired = merge(old.Twin.Tags, t.Tags), merge(old.Twin.Desired, t.Desired)
	}
	h.devices[d.ID] = now
	return now.Keys, nil
}

func merge(old, patch json.RawMessage) json.RawMessage {
	both := map[string]any{}
	for _, text := range []json.RawMessage{old, patch} {
		if len(text) > 0 && json.Unmarshal(text, &both) != nil {
			return text
		}
	}
	b, _ := json.Marshal(both) // it was JSON
	return b
}

// Twin implements provisioning.Hub.
func (h *Hub) Twin(_ context.Context, device string) (provisioning.Twin, error) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	d, ok := h.devices[device]
	if h.fail != nil {
		return provisioning.Twin{}, h.fail
	}
	if !ok {
		return provisioning.Twin{}, fault.New("provisioningtest.Twin", fault.NotFound, "no such device")
	}
	return d.Twin, nil
}

// Release implements provisioning.Hub.
func (h *Hub) Release(_ context.Context, device string) error {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	delete(h.devices, device)
	return h.fail
}
