package hub

import (
	"context"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// AnyETag matches every device that exists.
const AnyETag = "*"

// Device reads one. NotFound when there is none.
func (h *Hub) Device(ctx context.Context, id string) (Device, error) {
	d, err := h.server.store.Device(ctx, h.id, id)
	if err != nil {
		return Device{}, err
	}
	return h.live(d), nil
}

// Devices lists devices by id, at most limit of them, those after an id.
func (h *Hub) Devices(ctx context.Context, after string, limit int) ([]Device, error) {
	list, err := h.server.store.Devices(ctx, h.id, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Device, len(list))
	for i, d := range list {
		out[i] = h.live(d)
	}
	return out, nil
}

// Count returns how many devices there are and how many of them are disabled.
func (h *Hub) Count(ctx context.Context) (total, disabled int, err error) {
	return h.server.store.Count(ctx, h.id)
}

// CreateDevice adds a device; keys that are both empty are made. Conflict when it exists.
func (h *Hub) CreateDevice(ctx context.Context, d hubstore.Device) (Device, error) {
	return h.one(ctx, Change{Device: d, Mode: Create})
}

// UpdateDevice replaces a device; keys that are both empty are made anew. ifMatch is its etag or AnyETag; Precondition when it is
// another one. A device that becomes disabled, or loses the key it connected with, loses its session.
func (h *Hub) UpdateDevice(ctx context.Context, d hubstore.Device, ifMatch string) (Device, error) {
	return h.one(ctx, Change{Device: d, Mode: Update, IfMatch: ifMatch})
}

// DeleteDevice removes a device and ends its session.
func (h *Hub) DeleteDevice(ctx context.Context, id, ifMatch string) error {
	_, err := h.one(ctx, Change{Device: hubstore.Device{ID: id}, Mode: Delete, IfMatch: ifMatch})
	return err
}

func (h *Hub) one(ctx context.Context, c Change) (Device, error) {
	results, err := h.ChangeDevices(ctx, []Change{c})
	if err != nil {
		return Device{}, err
	}
	return results[0].Device, results[0].Err
}

// Mode is what a Change does.
type Mode uint8

const (
	Create Mode = iota
	Update
	Delete
)

// Change is one step of ChangeDevices.
type Change struct {
	Device  hubstore.Device // only its ID for Delete
	Mode    Mode
	IfMatch string // an etag or AnyETag; empty is refused for Update and Delete
}

// Result is what became of a Change.
type Result struct {
	Device Device
	Err    error
}

// ChangeDevices does the changes in one transaction. A change that fails does not keep the others from being made; the error returned
// beside the results is that of the store, and then nothing was changed.
func (h *Hub) ChangeDevices(ctx context.Context, changes []Change) ([]Result, error) {
	results := make([]Result, len(changes))
	err := h.server.store.Write(ctx, func(tx *hubstore.Tx) error {
		for i, c := range changes {
			d, err := h.change(tx, c)
			results[i] = Result{Device{Device: d}, err}
			if kind := fault.KindOf(err); err != nil && (kind == fault.Exhausted || kind == fault.Unavailable || kind == fault.Timeout || kind == fault.Internal) {
				return err // the store's, not this device's
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, c := range changes {
		r := &results[i]
		switch {
		case r.Err != nil:
		case c.Mode == Delete:
			h.cutDevice(c.Device.ID, DeviceDeleted)
		case r.Device.Status == hubstore.Disabled:
			h.cutDevice(c.Device.ID, DeviceDisabled)
		case c.Mode == Update:
			h.cutStale(r.Device.Device)
		}
		if r.Err == nil && c.Mode != Delete {
			r.Device = h.live(r.Device.Device)
		}
	}
	return results, nil
}

func (h *Hub) change(tx *hubstore.Tx, c Change) (hubstore.Device, error) {
	d, now := c.Device, h.server.clock.Now()
	d.Hub = h.id
	if c.Mode == Create {
		if err := complete(&d); err != nil {
			return d, err
		}
		// IoT Hub: generationId tells devices of the same id apart after one was deleted and made again.
		d.Generation, d.ETag, d.Created = strconv.FormatInt(now.UnixNano(), 10), newETag(), now
		return d, tx.Insert(d)
	}
	if err := validDeviceID(d.ID); err != nil {
		return d, err
	}
	old, err := tx.Device(h.id, d.ID)
	if err != nil {
		return d, err
	}
	if c.IfMatch == "" {
		return d, fault.Newf("hub.ChangeDevices", fault.Precondition, "the etag of device %q is missing", d.ID).Advise("send If-Match with the device's etag, or \"*\" for any")
	}
	if c.IfMatch != AnyETag && c.IfMatch != old.ETag {
		return d, fault.Newf("hub.ChangeDevices", fault.Precondition, "device %q was changed meanwhile: its etag is another one", d.ID).Advise("read it again, then repeat the change")
	}
	if c.Mode == Delete {
		return old, tx.Delete(h.id, d.ID)
	}
	if err := complete(&d); err != nil {
		return d, err
	}
	d.Generation, d.ETag, d.Created = old.Generation, newETag(), old.Created
	d.StatusChanged, d.ConnectionChanged, d.LastActivity = old.StatusChanged, old.ConnectionChanged, old.LastActivity
	if d.Status != old.Status {
		d.StatusChanged = now
	}
	return d, tx.Replace(d)
}
