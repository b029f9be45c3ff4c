package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Arrival is what came of an identity that was brought from another hub.
type Arrival string

const (
	NewHere     Arrival = "created"
	ChangedHere Arrival = "changed"
	SameHere    Arrival = "same"   // it is here already, and nothing would change
	KeptHere    Arrival = "kept"   // it is here, differs, and was left alone, because only what is missing was to be made
	NotHere     Arrival = "absent" // it is not here, and none was to be made
)

// Newcomer is an identity from another hub with what is known of its twin.
type Newcomer struct {
	Device hubstore.Device // keys that are both empty stay as they are here, or are made
	// Only says that no more than the twin is known; what the identity is stays as it is.
	Only     bool
	Parent   string // id of the edge device it is behind, where that is known and its scope is not
	Model    string // DTMI; kept unless the device has said one here
	Tags     json.RawMessage
	Desired  json.RawMessage
	Reported json.RawMessage // written only while the device has reported nothing here: it knows better
}

// Arrived is what became of a Newcomer.
type Arrived struct {
	Arrival Arrival
	NewKeys bool // the hub made its keys: the device must be given them
	Err     error
}

// errTrial undoes what was only tried.
var errTrial = errors.New("tried")

// Bring makes identities of another hub exist here, in one transaction; those that fail are reported and do not keep the others from being
// made. With mode Create what is missing is made, and what is here already is left alone but for parts of its twin that nobody has
// written; with Update what is here is changed; with CreateOrUpdate both. Brought again nothing is written: a list that was interrupted is
// begun anew. trial tells what would come of it and changes nothing. The error is that of the store, and then nothing was changed.
func (h *Hub) Bring(ctx context.Context, mode Mode, list []Newcomer, trial bool) ([]Arrived, error) {
	out := make([]Arrived, len(list))
	done := make([][]change, len(list))
	cut := make([]*hubstore.Device, len(list))
	var told []Name
	err := h.server.store.Together(ctx, func(tx *hubstore.Tx) error {
		told = told[:0]
		b := bringer{h: h, tx: tx, mode: mode, now: h.server.clock.Now()}
		for i := range list {
			b.steps, b.changed, b.told = nil, nil, false
			a, err := b.bring(list[i])
			if kind := fault.KindOf(err); err != nil && (kind == fault.Exhausted || kind == fault.Unavailable || kind == fault.Timeout || kind == fault.Internal) {
				return err
			}
			a.Err = err
			out[i], done[i], cut[i] = a, b.steps, b.changed
			if b.told {
				told = append(told, list[i].Device.Name())
			}
		}
		if trial {
			return errTrial
		}
		return nil
	}, func() {
		for _, steps := range done {
			for _, s := range steps {
				h.tell(s)
			}
		}
	})
	if trial && errors.Is(err, errTrial) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for i, d := range cut {
		if d != nil {
			h.cutChanged(Update, *d)
		}
		h.cutDeleted(done[i])
	}
	for _, n := range told {
		h.tellDesired(ctx, n)
	}
	return out, nil
}

// bringer brings one identity after the other.
type bringer struct {
	h      *Hub
	tx     *hubstore.Tx
	mode   Mode
	now    time.Time
	merger twin.Merger

	steps   []change
	changed *hubstore.Device // the identity as it is now, when it was there and changed
	told    bool             // its desired properties changed
}

func (b *bringer) bring(n Newcomer) (Arrived, error) {
	name := n.Device.Name()
	if err := validName(name); err != nil {
		return Arrived{}, err
	}
	old, err := b.tx.Device(b.h.id, name)
	switch {
	case err == nil:
		return b.meet(n, old)
	case fault.KindOf(err) != fault.NotFound:
		return Arrived{}, err
	case n.Only || b.mode == Update || name.IsSystem():
		return Arrived{Arrival: NotHere}, nil
	}
	if err := b.behind(&n); err != nil {
		return Arrived{}, err
	}
	before := hubstore.Twin{Hub: b.h.id, Name: name, Document: twin.New()}
	after, err := b.twin(n, before, true)
	if err != nil {
		return Arrived{}, err
	}
	n.Device.Hub = b.h.id
	made := n.Device.PrimaryKey == "" && n.Device.SecondaryKey == ""
	d, steps, err := b.h.create(b.tx, n.Device, func(tx *hubstore.Tx, _ hubstore.Device) error { return b.write(n, before, after) })
	if err != nil {
		return Arrived{}, err
	}
	b.steps = steps
	return Arrived{Arrival: NewHere, NewKeys: made && d.AuthType == AuthSAS}, nil
}

// meet brings an identity that is here already.
func (b *bringer) meet(n Newcomer, old hubstore.Device) (Arrived, error) {
	next := old
	if !n.Only {
		if err := b.behind(&n); err != nil {
			return Arrived{}, err
		}
		next = n.Device
		next.Hub = b.h.id
		stay(&next, old)
		if err := complete(&next); err != nil {
			return Arrived{}, err
		}
	}
	differs := !alike(next, old)
	before, err := b.tx.Twin(b.h.id, old.Name())
	if err != nil {
		return Arrived{}, err
	}
	overwrite := b.mode != Create
	after, err := b.twin(n, before, overwrite)
	if err != nil {
		return Arrived{}, err
	}
	out := Arrived{Arrival: SameHere}
	if after != before || b.models(n, before) {
		out.Arrival = ChangedHere
	}
	switch {
	case differs && overwrite:
		d, steps, err := b.h.update(b.tx, next, Change{IfMatch: AnyETag})
		if err != nil {
			return Arrived{}, err
		}
		b.steps, b.changed = steps, &d
		out = Arrived{Arrival: ChangedHere, NewKeys: next.AuthType == AuthSAS && next.PrimaryKey != old.PrimaryKey && n.Device.PrimaryKey == ""}
	case differs && out.Arrival == SameHere:
		out.Arrival = KeptHere
	case !overwrite && out.Arrival == SameHere:
		if whole, err := b.twin(n, before, true); err == nil && whole != before {
			out.Arrival = KeptHere
		}
	}
	b.told = after.Desired != before.Desired
	return out, b.write(n, before, after)
}

// behind gives an identity the scope of the edge device it is behind.
func (b *bringer) behind(n *Newcomer) error {
	d := &n.Device
	if n.Parent == "" || d.Module != "" || !d.Edge && d.Scope != "" || d.ParentScopes != "" {
		return nil
	}
	parent, err := b.tx.Device(b.h.id, Name{Device: n.Parent})
	if err != nil {
		return err
	}
	if !parent.Edge {
		return fault.Newf("hub.Bring", fault.Invalid, "device %q is behind %q, which is no edge device here", d.ID, n.Parent)
	}
	if !d.Edge {
		d.Scope = parent.Scope
		return nil
	}
	scopes, err := json.Marshal([]string{parent.Scope})
	d.ParentScopes = string(scopes)
	return fault.Wrap("hub.Bring", fault.Internal, err, "")
}

// stay keeps what a newcomer does not say: how the identity here proves who it is, who manages it, and the scope of an edge device. Modules
// of the edge runtime stay as they are: it sets its own keys.
func stay(next *hubstore.Device, old hubstore.Device) {
	if next.Name().IsSystem() {
		*next = old
		return
	}
	if next.AuthType == "" && next.PrimaryKey == "" && next.PrimaryThumbprint == "" {
		next.AuthType, next.PrimaryThumbprint, next.SecondaryThumbprint = old.AuthType, old.PrimaryThumbprint, old.SecondaryThumbprint
		next.PrimaryKey, next.SecondaryKey = old.PrimaryKey, old.SecondaryKey
	}
	if next.AuthType == AuthSAS && old.AuthType == AuthSAS && next.PrimaryKey == "" && next.SecondaryKey == "" {
		next.PrimaryKey, next.SecondaryKey = old.PrimaryKey, old.SecondaryKey
	}
	if next.Edge && old.Edge || next.Scope == "" && next.Edge == old.Edge {
		next.Scope = old.Scope
	}
	if next.ParentScopes == "" {
		next.ParentScopes = old.ParentScopes
	}
	if next.ManagedBy == "" {
		next.ManagedBy = old.ManagedBy
	}
}

// alike tells whether two identities are the same for those who use them.
func alike(a, b hubstore.Device) bool {
	return a.Status == b.Status && a.StatusReason == b.StatusReason && a.AuthType == b.AuthType && a.PrimaryKey == b.PrimaryKey && a.SecondaryKey == b.SecondaryKey &&
		strings.EqualFold(a.PrimaryThumbprint, b.PrimaryThumbprint) && strings.EqualFold(a.SecondaryThumbprint, b.SecondaryThumbprint) &&
		a.Edge == b.Edge && a.Scope == b.Scope && a.ParentScopes == b.ParentScopes && a.ManagedBy == b.ManagedBy
}

// twin returns the twin as it is to be: the same when what was brought is there already. Without overwrite only empty parts are filled.
func (b *bringer) twin(n Newcomer, before hubstore.Twin, overwrite bool) (hubstore.Twin, error) {
	var parts struct {
		Tags       json.RawMessage `json:"tags,omitempty"`
		Properties struct {
			Desired  json.RawMessage `json:"desired,omitempty"`
			Reported json.RawMessage `json:"reported,omitempty"`
		} `json:"properties"`
	}
	const empty = "{}"
	if overwrite || before.Tags == empty {
		parts.Tags = n.Tags
	}
	if overwrite || before.Desired.Text == empty {
		parts.Properties.Desired = n.Desired
	}
	if before.Reported.Text == empty {
		parts.Properties.Reported = n.Reported
	}
	body, err := json.Marshal(parts)
	if err != nil {
		return before, code.With(fault.Wrap("hub.Bring", fault.Invalid, err, "the twin of "+before.Name.Words()+" is not JSON"), code.ArgumentInvalid)
	}
	c, err := twin.ReadWhole(body)
	if err != nil {
		return before, badTwin(err)
	}
	after, err := apply(&b.merger, before, c, b.now)
	if err != nil {
		return before, err
	}
	// A change that says what is there already makes versions; here it is none.
	if after.Desired.Text == before.Desired.Text {
		after.Desired = before.Desired
	}
	if after.Reported.Text == before.Reported.Text {
		after.Reported = before.Reported
	}
	if after.Tags == before.Tags && after.Desired == before.Desired && after.Reported == before.Reported {
		return before, nil
	}
	return after, nil
}

func (b *bringer) models(n Newcomer, before hubstore.Twin) bool {
	return n.Model != "" && before.Model == ""
}

func (b *bringer) write(n Newcomer, before, after hubstore.Twin) error {
	if b.models(n, before) && len(n.Model) <= maxModelID {
		if err := b.tx.SetModel(b.h.id, before.Name, n.Model); err != nil {
			return err
		}
	}
	if after == before {
		return nil
	}
	return b.tx.SetTwin(before, after)
}

// Check tells what is wrong with an identity that is to be brought, before a hub is asked.
func Check(d hubstore.Device) error { return complete(&d) }
