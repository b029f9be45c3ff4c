package restart

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
)

const fleet = "https://" + processes.Fleet

// factory is an operator who enrolls devices, and devices that register.
type factory struct {
	w     *world
	owner sas.ConnectionString
	scope string
	key   []byte // of the group

	mu       sync.Mutex // guards the fields below
	enrolled []string
	assigned map[string]string // hub by device
}

func (w *world) factory() *factory {
	w.t.Helper()
	f := &factory{w: w, key: []byte("a key of a group, 32 bytes long."), assigned: map[string]string{}}
	var err error
	f.owner, err = w.Policy(w.ctx, processes.Fleet, "provisioningserviceowner")
	must(w.t, err)
	r, ok := w.ask(w.ctx, "the scope", "GET", fleet+"/isthmus/v1/provisioning", f.token(), nil, 200)
	var d struct{ IDScope string }
	if err := json.Unmarshal(r.Body, &d); !ok || err != nil || d.IDScope == "" {
		w.t.Fatalf("%s, %v", r.Body, err)
	}
	f.scope = d.IDScope
	group := fmt.Sprintf(`{"enrollmentGroupId":"line","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%q,"secondaryKey":%q}},
		"provisioningStatus":"enabled","initialTwin":{"tags":{"from":"line"},"properties":{"desired":{"start":1}}}}`,
		base64.StdEncoding.EncodeToString(f.key), base64.StdEncoding.EncodeToString(f.key))
	if _, ok := w.ask(w.ctx, "a group", "PUT", fleet+"/enrollmentGroups/line?api-version=2021-10-01", f.token(), []byte(group), 200, 201); !ok {
		w.t.Fatal("there is no group")
	}
	return f
}

func (f *factory) token() string {
	text, err := sas.Sign(processes.Fleet, f.owner.Key, f.owner.Policy, time.Now().Add(time.Hour))
	must(f.w.t, err)
	return text
}

func (f *factory) work(ctx context.Context) {
	var e int
	f.w.useNow(ctx, "enrollments", 2, 20*time.Millisecond, func(ctx context.Context) bool {
		e++
		return f.enroll(ctx, fmt.Sprintf("single-%d", e))
	})
	for line := range 3 {
		var n int
		f.w.useNow(ctx, fmt.Sprintf("registrations %d", line), 2, 10*time.Millisecond, func(ctx context.Context) bool {
			n++
			return f.register(ctx, fmt.Sprintf("robot-%d-%d", line, n))
		})
	}
}

// enroll writes an individual enrollment, and reads it back.
func (f *factory) enroll(ctx context.Context, id string) bool {
	at := fleet + "/enrollments/" + id + "?api-version=2021-10-01"
	body := fmt.Sprintf(`{"registrationId":%q,"deviceId":"%s-device","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`, id, id)
	if _, ok := f.w.ask(ctx, "an enrollment", "PUT", at, f.token(), []byte(body), 200, 201, 409); !ok { // 409: it is there, and nobody had answered
		return false
	}
	if _, ok := f.w.ask(ctx, "an enrollment", "GET", at, f.token(), nil, 200); !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enrolled = append(f.enrolled, id)
	return true
}

// register registers a device of the group, and has it connect to the hub it is assigned to.
func (f *factory) register(ctx context.Context, id string) bool {
	mac := hmac.New(sha256.New, f.key)
	mac.Write([]byte(id))
	key := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	own := f.scope + "/registrations/" + id
	token, err := sas.Sign(own, key, "registration", time.Now().Add(time.Hour))
	if err != nil {
		f.w.wrongly("%v", err)
		return false
	}
	const v = "?api-version=2019-03-31"
	r, ok := f.w.ask(ctx, "registering "+id, "PUT", fleet+"/"+own+"/register"+v, token, fmt.Appendf(nil, `{"registrationId":%q}`, id), 202, 200)
	var state struct {
		OperationID       string
		Status            string
		RegistrationState struct{ AssignedHub, DeviceID, Status, ErrorMessage string }
	}
	for ok {
		if err := json.Unmarshal(r.Body, &state); err != nil {
			f.w.wrongly("registering %s is answered with %s", id, r.Body)
			return false
		}
		if state.Status != "assigning" {
			break
		}
		f.w.rest(ctx, 10*time.Millisecond)
		r, ok = f.w.ask(ctx, "the registration of "+id, "GET", fleet+"/"+own+"/operations/"+state.OperationID+v, token, nil, 202, 200)
	}
	if !ok {
		return false
	}
	hub := state.RegistrationState.AssignedHub
	if state.Status != "assigned" || state.RegistrationState.DeviceID != id || hub == "" {
		f.w.wrongly("the registration of %s ended as %s", id, r.Body)
		return false
	}
	if !f.w.again(ctx, id, func(ctx context.Context) error {
		c, err := device.Dial(ctx, device.Config{Address: f.w.MQTT, TLS: f.w.TLS(hub), ID: id, Key: key})
		if err != nil {
			return awayUnlessRefused(err)
		}
		defer c.Close()
		t, err := c.Twin(ctx)
		if err != nil {
			return awayUnlessRefused(err)
		}
		var twin struct{ Desired struct{ Start int } }
		if err := json.Unmarshal(t, &twin); err != nil || twin.Desired.Start != 1 {
			f.w.wrongly("%s was assigned to %s, and its twin is %s", id, hub, t)
		}
		return nil
	}) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.assigned[id] = hub
	return true
}

// check reads all enrollments and registrations.
func (f *factory) check() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range f.enrolled {
		f.w.ask(f.w.ctx, "an enrollment", "GET", fleet+"/enrollments/"+id+"?api-version=2021-10-01", f.token(), nil, 200)
	}
	hubs := map[string]int{}
	for id, hub := range f.assigned {
		hubs[hub]++
		r, ok := f.w.ask(f.w.ctx, "a registration", "GET", fleet+"/registrations/"+id+"?api-version=2021-10-01", f.token(), nil, 200)
		var state struct{ Status, AssignedHub string }
		if err := json.Unmarshal(r.Body, &state); ok && (err != nil || state.Status != "assigned" || state.AssignedHub != hub) {
			f.w.wrongly("%s was assigned to %s, and now: %s", id, hub, r.Body)
		}
	}
	local, err := f.w.Local(processes.Fabrikam)
	must(f.w.t, err)
	defer local.Close()
	var there int
	for _, c := range []*hubclient.Client{f.w.hub, local} {
		for row, err := range c.FindAll(f.w.ctx, "SELECT deviceId FROM devices WHERE tags['from'] = 'line'") {
			if err != nil {
				f.w.wrongly("%v", err)
				break
			}
			var d struct{ DeviceID string }
			if json.Unmarshal(row, &d) == nil && f.assigned[d.DeviceID] != "" {
				there++
			}
		}
	}
	if there != len(f.assigned) {
		f.w.wrongly("%d devices were assigned, and the hubs have %d of them", len(f.assigned), there)
	}
	f.w.t.Logf("%d enrollments, %d devices registered: %v", len(f.enrolled), len(f.assigned), hubs)
}
