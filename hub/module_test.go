package hub_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestModulesAreIdentities(t *testing.T) {
	w := newWorld(t)
	ctx, h := t.Context(), w.hub()
	_, deviceToken := w.device("d")
	m := w.create(hubstore.Device{ID: "d", Module: "m", ManagedBy: "me"})
	if m.PrimaryKey == "" || m.Generation == "" || m.ETag == "" {
		t.Errorf("made %+v", m)
	}
	for _, c := range []struct {
		name string
		err  error
		want code.Code
	}{
		{"again", second(h.CreateDevice(ctx, hubstore.Device{ID: "d", Module: "m"})), code.ModuleAlreadyExists},
		{"of nobody", second(h.CreateDevice(ctx, hubstore.Device{ID: "x", Module: "m"})), code.DeviceNotFound},
		{"of the runtime", second(h.CreateDevice(ctx, hubstore.Device{ID: "d", Module: "$edgeAgent"})), code.ArgumentInvalid},
		{"missing", second(h.Identity(ctx, hub.Name{Device: "d", Module: "n"})), code.ModuleNotFound},
		{"missing with its device", second(h.Identity(ctx, hub.Name{Device: "x", Module: "n"})), code.DeviceNotFound},
		{"update of a missing one", second(h.UpdateDevice(ctx, hubstore.Device{ID: "d", Module: "n"}, hub.AnyETag)), code.ModuleNotFound},
		{"another etag", h.DeleteIdentity(ctx, m.Name(), "other"), code.PreconditionFailed},
		{"no etag", h.DeleteIdentity(ctx, m.Name(), ""), code.PreconditionFailed},
		{"modules of nobody", second(h.Modules(ctx, "x")), code.DeviceNotFound},
	} {
		if c.err == nil || code.Of(c.err) != c.want {
			t.Errorf("%s: %v, code %+v", c.name, c.err, code.Of(c.err))
		}
	}
	own, err := sas.Sign(host+"/devices/d/modules/m", m.PrimaryKey, "", start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ofDevice, err := sas.Sign(host+"/devices/d", m.PrimaryKey, "", start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cuts := &causes{}
	connect := func(module, token string) (*hub.Session, error) {
		return h.Connect(ctx, hub.Request{Device: "d", Module: module, Token: token, Side: public, Door: "test", Cut: cuts.add})
	}
	if _, err := connect("m", deviceToken); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("with its device's key: %v", err)
	}
	if _, err := connect("", own); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("as its device: %v", err)
	}
	s, err := connect("m", ofDevice) // a module's own key for the whole device covers the module
	if err != nil {
		t.Fatal(err)
	}
	s.End()
	if s, err = connect("m", own); err != nil {
		t.Fatal(err)
	}
	device, deviceCuts, err := w.connect("d", deviceToken, public)
	if err != nil {
		t.Fatal(err)
	}
	if cuts.last() != 0 || h.Connected() != 2 {
		t.Errorf("device and module take each other over: %q, %d connected", cuts.last(), h.Connected())
	}
	if !strings.Contains(s.Method, `"module"`) {
		t.Errorf("the stamp says %s", s.Method)
	}
	d, err := h.Device(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	d.Status = hubstore.Disabled
	if _, err := h.UpdateDevice(ctx, d.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	if cuts.last() != hub.DeviceDisabled || deviceCuts.last() != hub.DeviceDisabled {
		t.Errorf("its device was disabled: %q, %q", cuts.last(), deviceCuts.last())
	}
	s.End()
	device.End()
	if _, err := connect("m", own); fault.KindOf(err) != fault.Denied {
		t.Errorf("a module of a disabled device: %v", err)
	}
	if err := h.DeleteDevice(ctx, "d", hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Identity(ctx, m.Name()); code.Of(err) != code.DeviceNotFound {
		t.Errorf("the module is left: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestEdgeDevicesHaveTheirRuntime(t *testing.T) {
	w := newWorld(t)
	ctx, h := t.Context(), w.hub()
	d := w.create(hubstore.Device{ID: "edge", Edge: true})
	if !strings.HasPrefix(d.Scope, "ms-azure-iot-edge://edge-6") {
		t.Errorf("scope %q", d.Scope)
	}
	names := func() string {
		list, err := h.Modules(ctx, "edge")
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range list {
			ids = append(ids, m.Module)
		}
		return strings.Join(ids, " ")
	}
	if names() != "$edgeAgent $edgeHub" {
		t.Errorf("modules %q", names())
	}
	if err := h.DeleteIdentity(ctx, hub.Name{Device: "edge", Module: hub.EdgeAgent}, hub.AnyETag); fault.KindOf(err) != fault.Invalid {
		t.Errorf("the runtime can be taken away: %v", err)
	}
	if _, err := h.UpdateDevice(ctx, hubstore.Device{ID: "edge", Module: hub.EdgeAgent}, hub.AnyETag); err != nil {
		t.Errorf("the runtime cannot renew its keys: %v", err)
	}
	agent, err := h.Identity(ctx, hub.Name{Device: "edge", Module: hub.EdgeAgent})
	if err != nil {
		t.Fatal(err)
	}
	token, err := sas.Sign(host+"/devices/edge/modules/"+hub.EdgeAgent, agent.PrimaryKey, "", start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cuts := &causes{}
	s, err := h.Connect(ctx, hub.Request{Device: "edge", Module: hub.EdgeAgent, Token: token, Side: public, Door: "test", Cut: cuts.add})
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	plain := d.Device
	plain.Edge = false
	if _, err := h.UpdateDevice(ctx, plain, hub.AnyETag); err != nil || names() != "" {
		t.Errorf("no edge device any more, and has %q, %v", names(), err)
	}
	if cuts.last() != hub.DeviceDeleted {
		t.Errorf("a module of the runtime that is gone is connected: %q", cuts.last())
	}
	plain.Edge = true
	if again, err := h.UpdateDevice(ctx, plain, hub.AnyETag); err != nil || names() != "$edgeAgent $edgeHub" || again.Scope == "" {
		t.Errorf("an edge device again, and has %q, %q, %v", names(), again.Scope, err)
	}
}

func TestADeviceHasAFewModulesOnly(t *testing.T) {
	w := newWorld(t)
	w.create(hubstore.Device{ID: "edge", Edge: true})
	for i := range hub.MaxModules {
		w.create(hubstore.Device{ID: "edge", Module: fmt.Sprint("m", i)})
	}
	ctx, h := t.Context(), w.hub()
	if _, err := h.CreateDevice(ctx, hubstore.Device{ID: "edge", Module: "another"}); code.Of(err) != code.QuotaExceeded {
		t.Errorf("one more: %v", err)
	}
	if _, err := h.CreateDevice(ctx, hubstore.Device{ID: "edge", Module: "m7"}); code.Of(err) != code.ModuleAlreadyExists {
		t.Errorf("one that is there: %v", err)
	}
	results, err := h.ChangeDevices(ctx, []hub.Change{
		{Device: hubstore.Device{ID: "edge", Module: "m7"}, Mode: hub.Delete, IfMatch: hub.AnyETag},
		{Device: hubstore.Device{ID: "edge", Module: "instead"}},
		{Device: hubstore.Device{ID: "edge", Module: "more"}},
		{Device: hubstore.Device{ID: "other"}},
	})
	if err != nil || results[0].Err != nil || results[1].Err != nil || code.Of(results[2].Err) != code.QuotaExceeded || results[3].Err != nil {
		t.Errorf("%+v, %v", results, err)
	}
}
