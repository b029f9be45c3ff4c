package configuration

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// managedByEdge marks the modules that a deployment made.
const managedByEdge = "iotEdge"

// tries bounds how often a twin that others write at the same time is tried.
const tries = 10

// ApplyContent writes a content into the twins of one device and its modules at once, without a configuration (IoT Hub: apply configuration
// content on an edge device). Modules it names and the device does not have are made. Faults: Invalid, NotFound.
func (e *Engine) ApplyContent(ctx context.Context, h *hub.Hub, device string, c Content) error {
	if err := c.check(); err != nil {
		return err
	}
	d, err := h.Device(ctx, device)
	if err != nil {
		return err
	}
	if c.Module != nil {
		return fault.New("configuration.ApplyContent", fault.Invalid, "moduleContent needs a module").Advise("send modulesContent with the module's id")
	}
	if c.Modules != nil && !d.Edge {
		return fault.Newf("configuration.ApplyContent", fault.Invalid, "device %q is no edge device", device).Advise("set capabilities.iotEdge of the device")
	}
	return e.apply(ctx, h, d.Name(), []*Configuration{{Content: c}})
}

// apply writes contents, one on top of the other, into the twins of an identity; of an edge device, into those of its modules.
func (e *Engine) apply(ctx context.Context, h *hub.Hub, n hub.Name, list []*Configuration) error {
	var order []hub.Name
	sections := map[hub.Name][]map[string]json.RawMessage{}
	add := func(n hub.Name, s map[string]json.RawMessage) {
		if sections[n] == nil {
			order = append(order, n)
		}
		sections[n] = append(sections[n], s)
	}
	for _, c := range list {
		switch c.Content.kind() {
		case forDevices:
			add(n, c.Content.Device)
		case forModules:
			add(n, c.Content.Module)
		case forEdge:
			for _, id := range sortedKeys(c.Content.Modules) {
				add(hub.Name{Device: n.Device, Module: id}, c.Content.Modules[id])
			}
		}
	}
	for _, target := range order {
		if err := e.write(ctx, h, target, sections[target]); err != nil {
			return err
		}
	}
	return nil
}

// write puts sections in their places in the desired properties of one twin; nothing is written when nothing changes.
func (e *Engine) write(ctx context.Context, h *hub.Hub, n hub.Name, layers []map[string]json.RawMessage) error {
	for range tries {
		t, err := h.Twin(ctx, n)
		if fault.KindOf(err) == fault.NotFound && n.IsModule() && !n.IsSystem() {
			_, err = h.CreateDevice(ctx, hubstore.Device{ID: n.Device, Module: n.Module, ManagedBy: managedByEdge})
			if err == nil || code.Of(err) == code.ModuleAlreadyExists {
				continue
			}
		}
		if err != nil {
			return err
		}
		before := map[string]any{}
		if err := decode([]byte(t.Desired.Text), &before); err != nil {
			return err
		}
		after := any(clone(before))
		for _, sections := range layers {
			// The whole first, so that what is below it comes on top.
			for _, path := range sortedKeys(sections) {
				var value any
				if err := decode(sections[path], &value); err != nil {
					return err
				}
				after = put(after, strings.Split(path, ".")[2:], value)
			}
		}
		same, body, err := compare(before, after)
		if err != nil || same {
			return err
		}
		_, err = h.ReplaceTwin(ctx, n, body, t.ETag())
		if fault.KindOf(err) != fault.Precondition {
			return err
		}
	}
	return fault.Newf("configuration.write", fault.Unavailable, "the twin of %s changes all the time", n.Words())
}

func decode(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return fault.Wrap("configuration.write", fault.Invalid, d.Decode(into), "a section of the content is not JSON")
}

// clone copies what put may change: objects.
func clone(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if below, ok := v.(map[string]any); ok {
			v = clone(below)
		}
		out[k] = v
	}
	return out
}

// put returns doc with value at a path, making the objects on the way.
func put(doc any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	m, ok := doc.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	m[path[0]] = put(m[path[0]], path[1:], value)
	return m
}

// compare tells whether two documents are the same, and returns the request that makes the second of the first.
func compare(before map[string]any, after any) (same bool, body []byte, err error) {
	a, err := json.Marshal(before)
	if err == nil {
		body, err = json.Marshal(after)
	}
	if err != nil {
		return false, nil, fault.Wrap("configuration.compare", fault.Internal, err, "")
	}
	if bytes.Equal(a, body) {
		return true, nil, nil
	}
	return false, []byte(`{"properties":{"desired":` + string(body) + `}}`), nil
}

// countReports counts what the runtime of the edge devices that have a deployment says of it.
func (e *Engine) countReports(ctx context.Context, h *hub.Hub, c *Configuration, has map[hub.Name][]*Configuration, into Results) error {
	into[succeeds], into[fails] = 0, 0
	for n, list := range has {
		mine := false
		for _, other := range list {
			mine = mine || other.ID == c.ID
		}
		if !mine {
			continue
		}
		t, err := h.Twin(ctx, hub.Name{Device: n.Device, Module: hub.EdgeAgent})
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		var reported struct {
			Last *struct {
				Code int `json:"code"`
			} `json:"lastDesiredStatus"`
		}
		if json.Unmarshal([]byte(t.Reported.Text), &reported) != nil || reported.Last == nil {
			continue
		}
		if reported.Last.Code == 200 {
			into[succeeds]++
		} else {
			into[fails]++
		}
	}
	return nil
}
