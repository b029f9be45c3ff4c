package hub

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// AnyETag matches every identity that exists.
const AnyETag = "*"

// Device reads a device. NotFound when there is none.
func (h *Hub) Device(ctx context.Context, id string) (Device, error) {
	return h.Identity(ctx, Name{Device: id})
}

// Identity reads a device or a module. NotFound when there is none, with the code that says which of the two is missing.
func (h *Hub) Identity(ctx context.Context, n Name) (Device, error) {
	d, err := h.server.store.Device(ctx, h.id, n)
	if err != nil {
		return Device{}, h.whatIsMissing(ctx, n, err)
	}
	return h.live(d), nil
}

// whatIsMissing gives NotFound of a module its own code when its device is there.
func (h *Hub) whatIsMissing(ctx context.Context, n Name, err error) error {
	if fault.KindOf(err) != fault.NotFound || !n.IsModule() {
		return err
	}
	if _, missing := h.server.store.Device(ctx, h.id, Name{Device: n.Device}); missing != nil {
		return missing
	}
	return code.With(err, code.ModuleNotFound)
}

// Devices lists devices by id, at most limit of them, those after an id.
func (h *Hub) Devices(ctx context.Context, after string, limit int) ([]Device, error) {
	list, err := h.server.store.Devices(ctx, h.id, after, limit)
	return h.liveAll(list), err
}

// Modules lists a device's modules by id, those of an edge device's runtime among them. NotFound when there is no such device.
func (h *Hub) Modules(ctx context.Context, device string) ([]Device, error) {
	if _, err := h.server.store.Device(ctx, h.id, Name{Device: device}); err != nil {
		return nil, err
	}
	list, err := h.server.store.Modules(ctx, h.id, device)
	return h.liveAll(list), err
}

func (h *Hub) liveAll(list []hubstore.Device) []Device {
	out := make([]Device, len(list))
	for i, d := range list {
		out[i] = h.live(d)
	}
	return out
}

// Count returns how many devices there are and how many of them are disabled.
func (h *Hub) Count(ctx context.Context) (total, disabled int, err error) {
	return h.server.store.Count(ctx, h.id)
}

// CreateDevice adds a device, or a module of one; keys that are both empty are made. Conflict when it exists.
func (h *Hub) CreateDevice(ctx context.Context, d hubstore.Device) (Device, error) {
	return h.one(ctx, Change{Device: d, Mode: Create})
}

// UpdateDevice replaces an identity; keys that are both empty are made anew. ifMatch is its etag or AnyETag; Precondition when it is
// another one. One that becomes disabled, or loses the key it connected with, loses its session.
func (h *Hub) UpdateDevice(ctx context.Context, d hubstore.Device, ifMatch string) (Device, error) {
	return h.one(ctx, Change{Device: d, Mode: Update, IfMatch: ifMatch})
}

// DeleteDevice removes a device with its modules and ends their sessions.
func (h *Hub) DeleteDevice(ctx context.Context, id, ifMatch string) error {
	return h.DeleteIdentity(ctx, Name{Device: id}, ifMatch)
}

// DeleteIdentity removes a device with its modules, or one module, and ends their sessions.
func (h *Hub) DeleteIdentity(ctx context.Context, n Name, ifMatch string) error {
	_, err := h.one(ctx, Change{Device: hubstore.Device{ID: n.Device, Module: n.Module}, Mode: Delete, IfMatch: ifMatch})
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
	CreateOrUpdate // whichever is possible; IfMatch is not looked at
	UpdateTwin     // the identity stays as it is
)

// Change is one step of ChangeDevices.
type Change struct {
	Device  hubstore.Device // only its name for Delete
	Mode    Mode
	IfMatch string // an etag or AnyETag; empty is refused for Update and Delete
	// Twin, which may be nil, is called in the transaction for a Create or an Update that succeeded, to give the identity its first twin.
	Twin func(tx *hubstore.Tx, d hubstore.Device) error
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
	done := make([][]change, len(changes))
	err := h.server.store.Together(ctx, func(tx *hubstore.Tx) error {
		for i, c := range changes {
			d, steps, err := h.change(tx, c)
			results[i], done[i] = Result{Device{Device: d}, err}, steps
			if kind := fault.KindOf(err); err != nil && (kind == fault.Exhausted || kind == fault.Unavailable || kind == fault.Timeout || kind == fault.Internal) {
				return err // the store's, not this device's
			}
		}
		return nil
	}, func() {
		for _, steps := range done {
			for _, s := range steps {
				h.tell(s)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for i, c := range changes {
		r := &results[i]
		if r.Err == nil {
			h.cutChanged(c.Mode, r.Device.Device)
			h.cutDeleted(done[i])
		}
		if r.Err == nil && c.Twin != nil {
			h.tellDesired(ctx, r.Device.Name())
		}
		if r.Err == nil && c.Mode != Delete {
			r.Device = h.live(r.Device.Device)
		}
	}
	return results, nil
}

// cutChanged ends the sessions that a change of an identity leaves without a ground.
func (h *Hub) cutChanged(m Mode, d hubstore.Device) {
	switch {
	case m == Delete:
		h.cutIdentity(d.Name(), DeviceDeleted)
	case d.Status == hubstore.Disabled:
		h.cutIdentity(d.Name(), DeviceDisabled)
	case m == Update, m == CreateOrUpdate:
		h.cutStale(d)
	}
}

// cutDeleted ends the sessions of what went with a change, as the runtime's modules go with a device that is no edge device any more.
func (h *Hub) cutDeleted(steps []change) {
	for _, s := range steps {
		if s.mode == Delete {
			h.cutIdentity(s.d.Name(), DeviceDeleted)
		}
	}
}

// change is what became of one identity, for those who listen to the registry.
type change struct {
	mode Mode
	d    hubstore.Device
	twin twin.Document
}

// tell lets listeners know of a durable change.
func (h *Hub) tell(c change) {
	switch c.mode {
	case Create:
		h.identityCreated(c.d, c.twin)
	case Delete:
		h.identityDeleted(c.d, c.twin)
		h.commands.told.announce() // of what was in its queue
	case Update:
	}
}

// change makes one change, and returns it with those that follow from it. Nothing is written when it fails for a reason of the caller's.
func (h *Hub) change(tx *hubstore.Tx, c Change) (hubstore.Device, []change, error) {
	d := c.Device
	d.Hub = h.id
	if err := validName(d.Name()); err != nil {
		return d, nil, err
	}
	if d.Name().IsSystem() && (c.Mode == Create || c.Mode == Delete) { // the runtime itself renews the keys of its modules
		return d, nil, fault.Newf("hub.ChangeDevices", fault.Invalid, "module id %q begins with $, which is for the runtime of edge devices", d.Module).
			Advise("choose another module id; $edgeAgent and $edgeHub come and go with the edge device")
	}
	if c.Mode == CreateOrUpdate {
		c.Mode, c.IfMatch = Update, AnyETag
		if _, err := tx.Device(h.id, d.Name()); fault.KindOf(err) == fault.NotFound {
			c.Mode = Create
		}
	}
	switch c.Mode {
	case Create:
		return h.create(tx, d, c.Twin)
	case Update:
		return h.update(tx, d, c)
	case UpdateTwin:
		return h.updateTwin(tx, d, c)
	default:
		return h.delete(tx, d, c)
	}
}

func (h *Hub) updateTwin(tx *hubstore.Tx, d hubstore.Device, c Change) (hubstore.Device, []change, error) {
	old, err := tx.Device(h.id, d.Name())
	if err != nil {
		return d, nil, h.missingModule(tx, d.Name(), err)
	}
	if c.Twin == nil {
		return old, nil, fault.Newf("hub.ChangeDevices", fault.Invalid, "the change of %s has no twin", d.Name().Words())
	}
	return old, nil, c.Twin(tx, old)
}

func (h *Hub) create(tx *hubstore.Tx, d hubstore.Device, first func(*hubstore.Tx, hubstore.Device) error) (hubstore.Device, []change, error) {
	if err := complete(&d); err != nil {
		return d, nil, err
	}
	if err := h.roomForModule(tx, d); err != nil {
		return d, nil, err
	}
	h.begin(&d)
	if d.Edge && d.Scope == "" {
		d.Scope = h.edgeScope(d)
	}
	if err := tx.Insert(d); err != nil {
		if d.Module != "" && fault.KindOf(err) == fault.Conflict {
			err = code.With(err, code.ModuleAlreadyExists)
		}
		return d, nil, err
	}
	if first != nil {
		if err := first(tx, d); err != nil {
			// The caller's transaction goes on, so what was written is taken back here.
			if undo := tx.Delete(h.id, d.Name()); undo != nil {
				return d, nil, undo
			}
			return d, nil, err
		}
	}
	steps := []change{h.step(tx, Create, d)}
	more, err := h.edgeModules(tx, d)
	return d, append(steps, more...), err
}

// roomForModule refuses a module of a device that has enough.
func (h *Hub) roomForModule(tx *hubstore.Tx, d hubstore.Device) error {
	if d.Module == "" {
		return nil
	}
	others, err := tx.Modules(h.id, d.ID)
	if err != nil {
		return err
	}
	count := 0
	for _, m := range others {
		switch {
		case m.Module == d.Module:
			return nil // that is what Insert says
		case !m.Name().IsSystem():
			count++
		}
	}
	if count < MaxModules {
		return nil
	}
	return code.With(fault.Newf("hub.ChangeDevices", fault.Invalid, "device %q has %d modules, which is the limit", d.ID, count).
		Advise("delete those that nobody needs"), code.QuotaExceeded)
}

func (h *Hub) update(tx *hubstore.Tx, d hubstore.Device, c Change) (hubstore.Device, []change, error) {
	old, err := tx.Device(h.id, d.Name())
	if err == nil {
		err = matches(old, c.IfMatch)
	}
	if err == nil {
		err = complete(&d)
	}
	if err != nil {
		return d, nil, h.missingModule(tx, d.Name(), err)
	}
	d.Generation, d.ETag, d.Created = old.Generation, newETag(), old.Created
	d.StatusChanged, d.Connected, d.ConnectionChanged, d.LastActivity = old.StatusChanged, old.Connected, old.ConnectionChanged, old.LastActivity
	if d.Status != old.Status {
		d.StatusChanged = h.server.clock.Now()
	}
	switch {
	case d.Edge && old.Edge:
		d.Scope = old.Scope
	case d.Edge:
		d.Scope = h.edgeScope(d)
	}
	if c.Twin != nil {
		if err := c.Twin(tx, d); err != nil {
			return d, nil, err
		}
	}
	if err := tx.Replace(d); err != nil {
		return d, nil, err
	}
	steps, err := h.edgeModules(tx, d)
	return d, steps, err
}

func (h *Hub) delete(tx *hubstore.Tx, d hubstore.Device, c Change) (hubstore.Device, []change, error) {
	old, err := tx.Device(h.id, d.Name())
	if err == nil {
		err = matches(old, c.IfMatch)
	}
	if err != nil {
		return d, nil, h.missingModule(tx, d.Name(), err)
	}
	steps := []change{h.step(tx, Delete, old)}
	if old.Module == "" {
		modules, err := tx.Modules(h.id, old.ID)
		if err != nil {
			return d, nil, err
		}
		for _, m := range modules {
			steps = append(steps, h.step(tx, Delete, m))
		}
	}
	for _, s := range steps {
		if err := h.dropCommands(tx, s.d.Name()); err != nil {
			return d, nil, err
		}
	}
	return old, steps, tx.Delete(h.id, old.Name())
}

func (h *Hub) missingModule(tx *hubstore.Tx, n Name, err error) error {
	if fault.KindOf(err) != fault.NotFound || !n.IsModule() {
		return err
	}
	if _, missing := tx.Device(h.id, Name{Device: n.Device}); missing != nil {
		return missing
	}
	return code.With(err, code.ModuleNotFound)
}

func matches(old hubstore.Device, ifMatch string) error {
	who := old.Name().Words()
	if ifMatch == "" {
		return fault.Newf("hub.ChangeDevices", fault.Precondition, "the etag of %s is missing", who).Advise("send If-Match with its etag, or \"*\" for any")
	}
	if ifMatch != AnyETag && ifMatch != old.ETag {
		return fault.Newf("hub.ChangeDevices", fault.Precondition, "%s was changed meanwhile: its etag is another one", who).Advise("read it again, then repeat the change")
	}
	return nil
}
