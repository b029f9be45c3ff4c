package virtualdevice

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
)

// The one property of a module's twin that is ours, desired and reported.
const property = "virtualDevices"

// twin is what a hub answers who asks for it.
type twin struct {
	Desired  map[string]json.RawMessage `json:"desired"`
	Reported map[string]json.RawMessage `json:"reported"`
}

// overlay returns the devices of the process's own settings as the desired properties change them, and those they add. What cannot be read is
// the problem of the one device.
func overlay(own []Device, lookup func(string) string, desired json.RawMessage) []Device {
	wanted := map[string]json.RawMessage{}
	if len(desired) > 0 && json.Unmarshal(desired, &wanted) != nil {
		wanted = nil // it is no object: nothing of it can be meant
	}
	out := slices.Clone(own)
	for n := range out {
		id, _ := out[n].identify(lookup)
		name, err := out[n].label(id)
		if text, ok := wanted[name]; ok && err == nil {
			out[n].Name = name
			out[n].change(text)
			delete(wanted, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		d := Device{Name: name}
		d.change(wanted[name])
		out = append(out, d)
	}
	return out
}

// change writes over what a part of the twin has of the device.
func (d *Device) change(text json.RawMessage) {
	var over Device
	if err := decode(text, &over); err != nil {
		d.problem = err
		return
	}
	if over.ConnectionString != "" || over.ConnectionStringVariable != "" || over.Hub != "" || over.ID != "" || over.Key != "" {
		d.ConnectionString, d.ConnectionStringVariable = over.ConnectionString, over.ConnectionStringVariable
		d.Hub, d.ID, d.Module, d.Key = over.Hub, over.ID, over.Module, over.Key
	}
	if over.Streams != nil {
		d.Streams = over.Streams
	}
	if over.Enabled != nil {
		d.Enabled = over.Enabled
	}
	if over.Sessions != 0 {
		d.Sessions = over.Sessions
	}
}

// Bounds of what is reported: a twin takes 32 KiB.
const (
	maxReported = 150
	maxProblem  = 100
)

// reported is how a device is, in the twin.
type reported struct {
	Device    string  `json:"device"`
	Enabled   bool    `json:"enabled"`
	Connected bool    `json:"connected"`
	Sessions  int     `json:"sessions"`
	Problem   *string `json:"problem"` // null takes away what stood there
}

// patch returns what has to be written over reported properties so that they say how the devices are, and what they are then; nil when they
// say so.
func patch(was map[string]json.RawMessage, now []Status) (change []byte, is map[string]json.RawMessage) {
	is = map[string]json.RawMessage{}
	for _, s := range now[:min(len(now), maxReported)] {
		if !validName.MatchString(s.Name) {
			continue // a name that cannot be has no place in a twin
		}
		r := reported{Device: s.Device, Enabled: s.Enabled, Connected: s.Connected, Sessions: s.Sessions}
		if s.Problem != "" {
			short := clip(s.Problem)
			r.Problem = &short
		}
		is[s.Name], _ = json.Marshal(r) // texts and numbers always can be
	}
	next := map[string]json.RawMessage{}
	for name, text := range is {
		if !bytes.Equal(was[name], text) {
			next[name] = text
		}
	}
	for name := range was {
		if is[name] == nil {
			next[name] = json.RawMessage("null")
		}
	}
	if len(next) == 0 {
		return nil, is
	}
	change, _ = json.Marshal(map[string]any{property: next}) // as above
	return change, is
}

// readTwin reads a hub's answer.
func readTwin(text []byte) (desired json.RawMessage, was map[string]json.RawMessage, err error) {
	var t twin
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, nil, fault.Wrap("virtualdevice.readTwin", fault.Invalid, err, "the module's twin cannot be read")
	}
	was = map[string]json.RawMessage{}
	_ = json.Unmarshal(t.Reported[property], &was) // what somebody else wrote there goes
	return t.Desired[property], was, nil
}
