package provisioning_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
)

func TestRegisteringIsIdempotent(t *testing.T) {
	w := start(t)
	w.Put(`{"registrationId":"Sensor-1","deviceId":"press-7","attestation":{"type":"symmetricKey"},"iotHubHostName":"B.azure-devices.net",
		"initialTwin":{"tags":{"hall":3},"properties":{"desired":{"rate":5,"$version":9}}},"capabilities":{"iotEdge":true}}`)
	b := w.Hubs.Get(provisioningtest.HubB)
	release := b.Hold()
	defer release()
	p := own(w, "sensor-1")
	first, err := w.Service.Register(t.Context(), p, provisioning.Registration{})
	if err != nil || first.Status != provisioning.Assigning || first.State != nil || !strings.HasPrefix(first.ID, "5.") || len(first.ID) != 55 {
		t.Fatalf("%+v, %v", first, err)
	}
	<-b.Asked()
	for range 3 {
		if again, err := w.Service.Register(t.Context(), p, provisioning.Registration{}); err != nil || again.ID != first.ID {
			t.Errorf("again: %+v, %v", again, err)
		}
		if o, err := w.Service.Operation(t.Context(), p, first.ID); err != nil || o.Done() {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if _, err := w.Service.Operation(t.Context(), p, "5.other"); fault.KindOf(err) != fault.NotFound || provisioning.CodeOf(err) != provisioning.NoOperation {
		t.Errorf("another operation: %v", err)
	}
	release()
	done := w.Await(p, first.ID)
	s := done.State
	if done.Status != provisioning.Assigned || s.AssignedHub != provisioningtest.HubB || s.DeviceID != "press-7" || s.RegistrationID != "sensor-1" ||
		s.Substatus != provisioning.InitialAssignment || s.Status != provisioning.Assigned || s.ETag == "" || s.Created == "" || s.Updated == "" || s.SymmetricKey == nil || s.X509 != nil {
		t.Errorf("%+v %+v", done, s)
	}
	d, _ := b.Device("press-7")
	if d.PrimaryKey != w.Key("sensor-1") || !d.Edge || d.X509 || string(d.Twin.Tags) != `{"hall":3}` || string(d.Twin.Desired) != `{"rate":5}` {
		t.Errorf("at the hub: %+v", d)
	}
	if len(b.Asked()) != 0 {
		t.Error("it was worked on twice")
	}
	state, err := w.Service.DeviceState(t.Context(), p)
	if err != nil || state.AssignedHub != provisioningtest.HubB {
		t.Errorf("%+v, %v", state, err)
	}
	later, err := w.Service.Register(t.Context(), p, provisioning.Registration{})
	if err != nil || later.ID == first.ID {
		t.Errorf("a new registration: %+v, %v", later, err)
	}
	w.Await(p, later.ID)
	if _, err := w.Service.Operation(t.Context(), p, first.ID); provisioning.CodeOf(err) != provisioning.NoOperation {
		t.Errorf("the old operation: %v", err)
	}
}

// C49: each device of a group has a key of its own; the group's key is nobody's.
func TestAGroup(t *testing.T) {
	w := start(t)
	w.PutGroup(line)
	for i, spelling := range []string{"sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6", "SN-008"} {
		group := groupKey
		if i == 1 {
			group = otherKey
		}
		key, _ := provisioning.DeriveKey(group, spelling)
		o := w.Register(keyed(w, spelling, key), provisioning.Registration{})
		id := strings.ToLower(spelling)
		if o.Status != provisioning.Assigned || o.State.DeviceID != id || o.State.SymmetricKey.GroupID != "line" {
			t.Fatalf("%+v %+v", o, o.State)
		}
		d, _ := w.Hubs.Get(o.State.AssignedHub).Device(id)
		if want, _ := provisioning.DeriveKey(groupKey, spelling); d.PrimaryKey != want {
			t.Errorf("at the hub: %+v", d)
		}
	}
	for _, key := range []string{groupKey, otherKey} {
		if _, err := w.Service.Register(t.Context(), keyed(w, "d", key), provisioning.Registration{}); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("the group's key: %v", err)
		}
	}
	foreign, _ := provisioning.DeriveKey(groupKey, "e")
	if _, err := w.Service.Register(t.Context(), keyed(w, "d", foreign), provisioning.Registration{}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("the key of another device: %v", err)
	}
	page, err := w.Service.States(t.Context(), "line", 1, "")
	if err != nil || len(page.Items) != 1 || page.Items[0].RegistrationID != "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6" || page.Continuation == "" {
		t.Fatalf("%+v, %v", page, err)
	}
	if page, err = w.Service.States(t.Context(), "line", 1, page.Continuation); err != nil || len(page.Items) != 1 || page.Items[0].RegistrationID != "sn-008" || page.Continuation != "" {
		t.Errorf("%+v, %v", page, err)
	}
	// An enrollment of its own goes before the group.
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	derived, _ := provisioning.DeriveKey(groupKey, "d")
	if err := w.Service.Prove(t.Context(), keyed(w, "d", derived)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("the group's device is also enrolled by itself: %v", err)
	}
}

// C52: strangers hear one sentence.
func TestRefusalsSayTheSame(t *testing.T) {
	w := start(t)
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	w.Put(`{"registrationId":"off","provisioningStatus":"disabled","attestation":{"type":"symmetricKey"}}`)
	w.Put(`{"registrationId":"x","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + quoted(provisioningtest.Sign(t, nil, "x").PEM()) + `}}}}}`)
	w.PutGroup(line)
	key, scope := w.Key("d"), w.Service.Scope()
	sr := scope + "/registrations/d"
	words := map[string]bool{}
	for name, p := range map[string]provisioning.Proof{
		"nothing":              {RegistrationID: "d"},
		"no such enrollment":   keyed(w, "nobody", key),
		"another key":          keyed(w, "d", otherKey),
		"disabled and no key":  keyed(w, "off", otherKey),
		"a token, not X.509":   keyed(w, "x", key),
		"a token for another":  {RegistrationID: "d", Token: w.Sign(scope+"/registrations/e", key, "registration", time.Hour)},
		"a token for elsewere": {RegistrationID: "d", Token: w.Sign("0ne00000000/registrations/d", key, "registration", time.Hour)},
		"a token for more":     {RegistrationID: "d", Token: w.Sign(sr+"/x", key, "registration", time.Hour)},
		"a token for less":     {RegistrationID: "d", Token: w.Sign(scope, key, "registration", time.Hour)},
		"another skn":          {RegistrationID: "d", Token: w.Sign(sr, key, "provisioningserviceowner", time.Hour)},
		"no skn":               {RegistrationID: "d", Token: w.Sign(sr, key, "", time.Hour)},
		"garbage":              {RegistrationID: "d", Token: "SharedAccessSignature x"},
		"a bad id":             {RegistrationID: "d/../d", Token: w.Sign(sr, key, "registration", time.Hour)},
		"no id":                {},
	} {
		_, err := w.Service.Register(t.Context(), p, provisioning.Registration{})
		if fault.KindOf(err) != fault.Unauthenticated || provisioning.CodeOf(err) != provisioning.Unauthorized {
			t.Errorf("%s: %v", name, err)
		}
		words[fault.Message(err)+fault.Next(err)] = true
	}
	if len(words) != 1 {
		t.Errorf("strangers can tell refusals apart: %v", words)
	}
	for _, c := range []struct {
		p    provisioning.Proof
		want fault.Kind
	}{
		{own(w, "off"), fault.Denied},
		{provisioning.Proof{RegistrationID: "d", Token: w.Sign(sr, key, "registration", -time.Second)}, fault.Expired},
	} {
		_, err := w.Service.Register(t.Context(), c.p, provisioning.Registration{})
		if fault.KindOf(err) != c.want || provisioning.CodeOf(err) != provisioning.Unauthorized {
			t.Errorf("%v", err)
		}
	}
	// The ways in which SDKs write sr and the id.
	for _, p := range []provisioning.Proof{
		{RegistrationID: "d", Token: w.Sign(sr, key, "registration", time.Hour)},
		{RegistrationID: "D", Token: w.Sign(strings.ToLower(scope)+"/registrations/D", key, "registration", time.Hour)},
	} {
		if err := w.Service.Prove(t.Context(), p); err != nil {
			t.Errorf("%+v: %v", p.RegistrationID, err)
		}
	}
	if n := w.Hubs.Get(provisioningtest.HubA).Len() + w.Hubs.Get(provisioningtest.HubB).Len(); n != 0 {
		t.Errorf("%d devices came to a hub", n)
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// C53: what registering again does, by the enrollment's policy.
func TestReprovisioning(t *testing.T) {
	const (
		keep    = `{"updateHubAssignment":false,"migrateDeviceData":false}`
		migrate = `{"updateHubAssignment":true,"migrateDeviceData":true}`
		reset   = `{"updateHubAssignment":true,"migrateDeviceData":false}`
	)
	for _, c := range []struct {
		name, policy, to          string
		hub, substatus, tags, rep string
	}{
		{"keep", keep, provisioningtest.HubB, provisioningtest.HubA, provisioning.InitialAssignment, `{"x":1}`, `{"t":20}`},
		{"migrate to another hub", migrate, provisioningtest.HubB, provisioningtest.HubB, provisioning.DeviceDataMigrated, `{"x":1}`, `{"t":20}`},
		{"migrate and stay", migrate, provisioningtest.HubA, provisioningtest.HubA, provisioning.InitialAssignment, `{"x":1}`, `{"t":20}`},
		{"reset to another hub", reset, provisioningtest.HubB, provisioningtest.HubB, provisioning.DeviceDataReset, `{"new":1}`, ``},
		{"reset and stay", reset, provisioningtest.HubA, provisioningtest.HubA, provisioning.DeviceDataReset, `{"new":1}`, ``},
		{"no policy is to migrate", `null`, provisioningtest.HubB, provisioningtest.HubB, provisioning.DeviceDataMigrated, `{"x":1}`, `{"t":20}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := start(t)
			doc := func(hub, tags string) string {
				return `{"registrationId":"d","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"` + groupKey + `","secondaryKey":"` + otherKey + `"}},"iotHubHostName":"` +
					hub + `","initialTwin":{"tags":` + tags + `},"reprovisionPolicy":` + c.policy + `}`
			}
			w.Put(doc(provisioningtest.HubA, `{"first":1}`))
			p := own(w, "d")
			w.Register(p, provisioning.Registration{})
			a := w.Hubs.Get(provisioningtest.HubA)
			d, _ := a.Device("d")
			d.Twin = provisioning.Twin{Tags: json.RawMessage(`{"x":1}`), Desired: json.RawMessage(`{"y":2}`), Reported: json.RawMessage(`{"t":20}`)}
			a.Put(d)
			if _, err := w.Service.PutEnrollment(t.Context(), "d", []byte(doc(c.to, `{"new":1}`)), false, provisioning.AnyETag); err != nil {
				t.Fatal(err)
			}
			s := w.Register(p, provisioning.Registration{}).State
			if s.AssignedHub != c.hub || s.Substatus != c.substatus {
				t.Errorf("%+v", s)
			}
			d, ok := w.Hubs.Get(c.hub).Device("d")
			if !ok || string(d.Twin.Tags) != c.tags || string(d.Twin.Reported) != c.rep {
				t.Errorf("%s %s", d.Twin.Tags, d.Twin.Reported)
			}
			w.Stop() // the former hub is told after the device is
			if n := a.Len() + w.Hubs.Get(provisioningtest.HubB).Len(); n != 1 {
				t.Errorf("the device is at %d hubs", n)
			}
		})
	}
}

// A registration outlives its process, and its former hub learns of it.
func TestARestartLosesNothing(t *testing.T) {
	dir, hubs := t.TempDir(), provisioningtest.NewHubs(provisioningtest.HubA)
	w := provisioningtest.Start(t, provisioningtest.Options{Dir: dir, Hubs: hubs})
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	release := hubs.Get(provisioningtest.HubA).Hold()
	p := own(w, "d")
	o, err := w.Service.Register(t.Context(), p, provisioning.Registration{})
	if err != nil {
		t.Fatal(err)
	}
	<-hubs.Get(provisioningtest.HubA).Asked()
	w.Stop()
	release()
	w = provisioningtest.Start(t, provisioningtest.Options{Dir: dir, Hubs: hubs})
	if got := w.Await(p, o.ID); got.Status != provisioning.Assigned {
		t.Errorf("%+v", got)
	}
}

func TestAHubThatCannotBeReached(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := provisioningtest.Start(t, provisioningtest.Options{Clock: clk, Hubs: provisioningtest.NewHubs(provisioningtest.HubA)})
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	w.Put(`{"registrationId":"e","attestation":{"type":"symmetricKey"}}`)
	a := w.Hubs.Get(provisioningtest.HubA)
	a.Fail(fault.New("test", fault.Unavailable, "not now"))
	d, e := own(w, "d"), own(w, "e")
	first, err := w.Service.Register(t.Context(), d, provisioning.Registration{})
	if err != nil {
		t.Fatal(err)
	}
	<-a.Asked()
	o, err := w.Service.Operation(t.Context(), d, first.ID)
	if err != nil || o.Done() {
		t.Fatalf("%+v, %v", o, err)
	}
	a.Fail(nil)
	if o := w.Await(d, first.ID); o.Status != provisioning.Assigned {
		t.Errorf("%+v", o)
	}
	a.Fail(fault.New("test", fault.Unavailable, "never"))
	second, err := w.Service.Register(t.Context(), e, provisioning.Registration{})
	if err != nil {
		t.Fatal(err)
	}
	clk.Advance(3 * time.Minute)
	if o := w.Await(e, second.ID); o.Status != provisioning.Failed || o.State.ErrorCode != int(provisioning.NotAvailable) || o.State.ErrorMessage == "" || o.State.AssignedHub != "" {
		t.Errorf("%+v %+v", o, o.State)
	}
	a.Fail(nil)
	if o := w.Register(e, provisioning.Registration{}); o.Status != provisioning.Assigned {
		t.Errorf("after a failure: %+v", o)
	}
}

func TestRegistrationsAreBounded(t *testing.T) {
	w := provisioningtest.Start(t, provisioningtest.Options{
		Hubs: provisioningtest.NewHubs(provisioningtest.HubA), Change: func(c *provisioning.Config) { c.Queue, c.Workers = 1, 1 },
	})
	a := w.Hubs.Get(provisioningtest.HubA)
	release := a.Hold()
	defer release()
	var all []provisioning.Proof
	var ids []string
	for i := range 3 {
		id := fmt.Sprint("d", i)
		w.Put(`{"registrationId":"` + id + `","attestation":{"type":"symmetricKey"}}`)
		p := own(w, id)
		o, err := w.Service.Register(t.Context(), p, provisioning.Registration{})
		if i == 2 {
			if provisioning.CodeOf(err) != provisioning.Throttled || provisioning.CodeOf(err).Status() != 429 {
				t.Errorf("one too many: %v", err)
			}
			if state, err := w.Service.State(t.Context(), id); fault.KindOf(err) != fault.NotFound {
				t.Errorf("it left something: %+v, %v", state, err)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all, ids = append(all, p), append(ids, o.ID)
	}
	release()
	for i, p := range all {
		if o := w.Await(p, ids[i]); o.Status != provisioning.Assigned {
			t.Errorf("%+v", o)
		}
	}
}

// A device that registers again and again has to wait, and no other.
func TestADeviceThatRegistersTooOften(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := provisioningtest.Start(t, provisioningtest.Options{Clock: clk})
	w.Put(symmetric("again", ""))
	w.Put(symmetric("other", ""))
	for range 20 {
		w.Register(own(w, "again"), provisioning.Registration{})
	}
	_, err := w.Service.Register(t.Context(), own(w, "again"), provisioning.Registration{})
	if provisioning.CodeOf(err) != provisioning.Throttled || !strings.Contains(fault.Message(err), "too often") || fault.Next(err) == "" {
		t.Errorf("once more: %v", err)
	}
	w.Register(own(w, "other"), provisioning.Registration{})
	clk.Advance(3 * time.Second)
	w.Register(own(w, "again"), provisioning.Registration{})
}

func TestPayloadsAreBounded(t *testing.T) {
	w := start(t)
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	for payload, want := range map[string]fault.Kind{
		`"` + strings.Repeat("x", provisioning.MaxPayload) + `"`: fault.TooLarge,
		strings.Repeat("[", 100) + strings.Repeat("]", 100):      fault.Invalid,
	} {
		if _, err := w.Service.Register(t.Context(), own(w, "d"), provisioning.Registration{Payload: json.RawMessage(payload)}); fault.KindOf(err) != want {
			t.Errorf("%.20s: %v", payload, err)
		}
	}
}

// Keys stand in no log, at its most talkative.
func TestKeysStayWhereTheyBelong(t *testing.T) {
	w := start(t)
	w.PutGroup(line)
	derived, _ := provisioning.DeriveKey(groupKey, "d")
	p := keyed(w, "d", derived)
	w.Register(p, provisioning.Registration{})
	w.Hubs.Get(provisioningtest.HubA).Fail(fault.New("test", fault.Invalid, "no"))
	w.Hubs.Get(provisioningtest.HubB).Fail(fault.New("test", fault.Invalid, "no"))
	w.Register(p, provisioning.Registration{})
	_, _ = w.Service.Register(context.Background(), keyed(w, "d", groupKey), provisioning.Registration{})
	owner, _ := w.Service.ConnectionString(provisioning.PolicyOwner)
	w.Stop()
	for _, secret := range []string{groupKey, otherKey, derived, owner[len(owner)-44:], p.Token} {
		if strings.Contains(w.Log.String(), secret) {
			t.Errorf("a secret is in the log")
		}
	}
	if !strings.Contains(w.Log.String(), "registration failed") {
		t.Error("the log says nothing at all")
	}
}
