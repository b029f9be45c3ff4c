package abuse

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/test/processes"
)

// factory is the provisioning service of a site, with the group line.
type factory struct {
	*site
	scope string
	token string
	key   []byte
}

func (s *site) factory() *factory {
	s.t.Helper()
	owner, err := s.hub.Policy(s.t.Context(), processes.Fleet, "provisioningserviceowner")
	must(s.t, err)
	f := &factory{site: s, key: []byte("a key of a group, 32 bytes long."), token: s.policy(owner, time.Hour)}
	r := s.ask("GET", fleet+"/isthmus/v1/provisioning", f.token, "")
	var d struct{ IDScope string }
	must(s.t, json.Unmarshal(r.Body, &d))
	f.scope = d.IDScope
	f.enroll("enrollmentGroups", "line", fmt.Sprintf(`{"enrollmentGroupId":"line","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%[1]q,"secondaryKey":%[1]q}}}`,
		base64.StdEncoding.EncodeToString(f.key)))
	return f
}

func (f *factory) enroll(kind, id, body string) {
	f.t.Helper()
	if r := f.ask("PUT", fleet+"/"+kind+"/"+id+"?api-version=2021-10-01", f.token, body); r.Status != 200 {
		f.t.Fatalf("%s: %d %s", id, r.Status, r.Body)
	}
}

// derived is the key of a device of the group.
func (f *factory) derived(id string) string {
	mac := hmac.New(sha256.New, f.key)
	mac.Write([]byte(id))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// register registers a device and returns the answer to its first request.
func (f *factory) register(ctx context.Context, web *processes.Web, id, key, body string) (processes.Reply, error) {
	own := f.scope + "/registrations/" + id
	token := ""
	if key != "" {
		var err error
		if token, err = sas.Sign(own, key, "registration", time.Now().Add(time.Hour)); err != nil {
			return processes.Reply{}, err
		}
	}
	return web.Ask(ctx, "PUT", fleet+"/"+own+"/register?api-version=2019-03-31", token, []byte(body), "Content-Type", "application/json")
}

// assigned registers a device and waits until it is assigned.
func (f *factory) assigned(ctx context.Context, id string) error {
	r, err := f.register(ctx, f.web, id, f.derived(id), "{}")
	for {
		if err != nil {
			return err
		}
		var o struct{ OperationID, Status string }
		if err := json.Unmarshal(r.Body, &o); err != nil {
			return err
		}
		switch {
		case o.Status == "assigned":
			return nil
		case r.Status != 202:
			return fmt.Errorf("%d %s", r.Status, r.Body)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		own := f.scope + "/registrations/" + id
		token, serr := sas.Sign(own, f.derived(id), "registration", time.Now().Add(time.Hour))
		if serr != nil {
			return serr
		}
		r, err = f.web.Ask(ctx, "GET", fleet+"/"+own+"/operations/"+o.OperationID+"?api-version=2019-03-31", token, nil)
	}
}

// Strangers who register are told all the same thing, whatever they say; those who flood the service with registrations, true or false, do
// not keep others from theirs.
func TestHostileRegistrations(t *testing.T) {
	s := startHub(t)
	f := s.factory()
	f.enroll("enrollments", "chip", `{"registrationId":"chip","attestation":{"type":"tpm","tpm":{"endorsementKey":"`+endorsementKey+`"}}}`)
	group := base64.StdEncoding.EncodeToString(f.key)
	f.enroll("enrollments", "hooked", `{"registrationId":"hooked","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"`+group+`","secondaryKey":"`+group+`"}},
		"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"https://127.0.0.1:`+strings.Split(s.hub.HTTPS, ":")[1]+`/x","apiVersion":"2019-03-31"}}`)
	words := map[bool]string{} // of those who speak of a TPM, and of others
	for _, c := range []struct{ name, id, key, body string }{
		{"a wrong key", "robot", base64.StdEncoding.EncodeToString([]byte("wrong wrong wrong wrong wrong..!")), `{"registrationId":"robot"}`},
		{"the key of the group itself", "robot", group, `{"registrationId":"robot"}`},
		{"another device's key", "robot", f.derived("robot-2"), `{"registrationId":"robot"}`},
		{"no key", "robot", "", `{"registrationId":"robot"}`},
		{"a key for a TPM", "chip", f.derived("chip"), `{"registrationId":"chip"}`},
		{"a TPM without keys", "chip", "", `{"registrationId":"chip","tpm":{}}`},
		{"a TPM of rubbish", "chip", "", `{"registrationId":"chip","tpm":{"endorsementKey":"` + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 300)) + `","storageRootKey":"AAAA"}}`},
		{"a TPM of 60 kB", "chip", "", `{"registrationId":"chip","tpm":{"endorsementKey":"` + strings.Repeat("A", 6_000) + `","storageRootKey":"` + strings.Repeat("A", 1_000) + `"}}`},
		{"another TPM", "chip", "", `{"registrationId":"chip","tpm":{"endorsementKey":"` + strings.Replace(endorsementKey, "xsj2g", "xsj2h", 1) + `","storageRootKey":"` + endorsementKey + `"}}`},
		{"a TPM of nobody", "nobody", "", `{"registrationId":"nobody","tpm":{"endorsementKey":"` + endorsementKey + `","storageRootKey":"` + endorsementKey + `"}}`},
		{"nobody", "nobody", "", `{"registrationId":"nobody"}`},
	} {
		r, err := f.register(t.Context(), s.web, c.id, c.key, c.body)
		must(t, err)
		var e struct{ Message string }
		chip := strings.Contains(c.body, `"tpm"`)
		if err := json.Unmarshal(r.Body, &e); err != nil || r.Status != 401 || words[chip] != "" && e.Message != words[chip] {
			t.Errorf("%s: %d %s, wanted the words %q", c.name, r.Status, r.Body, words[chip])
		}
		words[chip] = e.Message
	}
	for name, body := range map[string]string{
		"no JSON": "{", "a payload of 1 MB": `{"payload":"` + strings.Repeat("x", 1<<20) + `"}`, "a payload without end": `{"payload":` + strings.Repeat("[", 3_000),
		"a payload 3,000 deep": `{"payload":` + strings.Repeat("[", 3_000) + strings.Repeat("]", 3_000) + `}`, "another's name": `{"registrationId":"other"}`,
	} {
		if r, err := f.register(t.Context(), s.web, "robot", f.derived("robot"), body); err != nil || r.Status/100 != 4 {
			t.Errorf("%s: %d %s, %v", name, r.Status, r.Body, err)
		}
	}
	r, err := f.register(t.Context(), s.web, "hooked", group, "{}")
	if err != nil || r.Status != 202 {
		t.Errorf("a device with a webhook: %d %s, %v", r.Status, r.Body, err)
	}
	s.says("the webhook does not answer, or not in time")

	o := s.bystanders()
	var number atomic.Int64
	robots := use(t, "registering", 100*time.Millisecond, func() error { return f.assigned(t.Context(), fmt.Sprintf("calm-%d", number.Add(1))) })
	robots.warm(5)
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var taken, busy, denied atomic.Int64
	for part := range 6 {
		flood.Go(func() {
			web := s.hub.Web(fmt.Sprintf("127.0.11.%d", 1+part))
			defer web.CloseIdleConnections()
			for i := part; ctx.Err() == nil; i += 6 {
				id := fmt.Sprintf("flood-%d", i)
				key := f.derived(id)
				if part%2 == 0 {
					key = group
				}
				r, err := f.register(ctx, web, id, key, "{}")
				switch {
				case ctx.Err() != nil:
				case err != nil && !errors.Is(err, context.Canceled):
					t.Error(err)
				case r.Status == 202:
					taken.Add(1)
				case r.Status == 429:
					busy.Add(1)
				case r.Status == 401:
					denied.Add(1)
				default:
					t.Errorf("%s: %d %s", id, r.Status, r.Body)
				}
			}
		})
	}
	<-time.After(time.Duration(more(3, 60)) * time.Second)
	o.fine("beside registrations without end", 5)
	robots.fine("beside registrations without end", 3)
	cancel()
	flood.Wait()
	t.Logf("%d registrations were taken, %d had to come again, %d were denied", taken.Load(), busy.Load(), denied.Load())
	if taken.Load() == 0 || denied.Load() == 0 {
		t.Error("that was no flood")
	}
	memory().within(t, 80)
	robots.stop()
	o.stop()
	s.end()
	if n := len(s.lines("hub: refused")); n > 300 {
		t.Errorf("the log has %d lines about refusals:\n%s", n, s.tail())
	}
	if n := len(s.lines("level=ERROR")); n > 0 {
		t.Errorf("the log has %d errors:\n%s", n, s.tail())
	}
	if strings.Contains(s.Log(), group) {
		t.Error("the log holds a key")
	}
}

// endorsementKey is the public part of a TPM's, as the vendors' simulators have it.
const endorsementKey = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAxsj2gUScTk1UjuioeTlfGYZrrimExB+bScH75adUMRIi2UOMxG1kw4y+9RW/IVoMl4e620VxZad0ARX2gUqVjYO7KPVt3dyKhZS3dkcvfBisBhP1XH9B33VqHG9SHnbnQXdBUaCgKAfxome8UmBKfe+naTsE5fkvjb/do3/dD6l4sGBwFCnKRdln4XpM03zLpoHFao8zOwt8l/uP3qUIxmCYv9A7m69Ms+5/pCkTu/rK4mRDsfhZ0QLfbzVI6zQFOKF/rwsfBtFeWlWtcuJMKlXdD8TXWElTzgh7JS4qhFzreL0c1mI0GCj+Aws0usZh7dLIVPnlgZcBhgy1SSDQMQ=="
