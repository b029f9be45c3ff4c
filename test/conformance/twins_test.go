package conformance

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// plain is a part of a twin as a device sees it: without metadata at any level.
func plain(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for key, value := range m {
		if key != "$metadata" {
			out[key] = plain(value)
		}
	}
	return out
}

// rest returns what the hub answers to a service's request, which has to go well.
func rest(t *testing.T, w *hubtest.World, method, path, body string) said {
	t.Helper()
	res, b := askAs(t, w, w.ServiceToken(hubtest.Contoso, hub.PolicyOwner), method, path+"?api-version=2021-04-12", body)
	var v said
	if res.StatusCode/100 != 2 || len(b) > 0 && json.Unmarshal(b, &v) != nil {
		t.Fatalf("%s %s: %s %s", method, path, res.Status, b)
	}
	return v
}

// who is a device or a module in a test of both.
type who struct {
	name, env, path string
	hub.Name
}

func deviceAndModule(t *testing.T, w *hubtest.World, device string) []who {
	t.Helper()
	d := w.Device(hubtest.Contoso, device)
	m := w.Module(hubtest.Contoso, device, "m")
	return []who{
		{"device", deviceString(hubtest.Contoso, d), "/twins/" + device, d.Name()},
		{"module", moduleString(m), "/twins/" + device + "/modules/m", m.Name()},
	}
}

func TestTwinsOfDevices(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	for _, tr := range lasting {
		all := deviceAndModule(t, w, tr.name)
		some := all
		if tr.overWebSocket() { // what the device does is enough
			some = all[:1]
		}
		for _, c := range some {
			t.Run("C29 read, as services do, by a "+c.name+" over "+tr.name, func(t *testing.T) {
				covers(t, "C29", tr.pkg)
				rest(t, w, "PATCH", c.path, `{"tags":{"secret":1},"properties":{"desired":{"who":"`+c.name+`","deep":{"list":[1,{"a":2}],"n":1.50},"unit":"°C €"}}}`)
				s := play(t, w, "twins.js", "read", c.env, "TRANSPORT="+tr.name)
				seen := s.step("get", "")
				twin := rest(t, w, "GET", c.path, "")
				for _, part := range []string{"desired", "reported"} {
					theirs, _ := seen.at("body." + part).(map[string]any)
					delete(theirs, "update") // the SDK's own
					if want := plain(twin.at("properties." + part)); !reflect.DeepEqual(any(theirs), want) {
						t.Errorf("%s: the device sees %v, services see %v", part, theirs, want)
					}
				}
			})
			t.Run("C30 reports of a "+c.name+" over "+tr.name, func(t *testing.T) {
				covers(t, "C30", tr.pkg)
				s := play(t, w, "twins.js", "report", c.env, "TRANSPORT="+tr.name)
				n, _ := s.step("before", "").at("body.version").(float64)
				s.step("report", "")
				s.step("after", "", "body.version", n+1)
				s.step("delete", "")
				v := s.step("after", "", "body.version", n+2)
				if want := `map[$version:` + fmt.Sprint(n+2) + ` deep:map[b:map[]] keep:x unit:°C €]`; fmt.Sprint(v.at("body.twin")) != want {
					t.Errorf("it sees %v, want %s", v.at("body.twin"), want)
				}
				if at := rest(t, w, "GET", c.path, "").at("properties.reported.$version"); at != n+2 {
					t.Errorf("services see version %v, want %v", at, n+2)
				}
			})
			t.Run("C31 desired properties of a "+c.name+" over "+tr.name, func(t *testing.T) {
				covers(t, "C31", tr.pkg)
				s := play(t, w, "twins.js", "desired", c.env, "TRANSPORT="+tr.name)
				n, _ := s.step("opened", "").at("body.$version").(float64)
				rest(t, w, "PATCH", c.path, `{"properties":{"desired":{"early":1}}}`)
				s.goOn()
				// What it has when it begins to listen is what it read: the early change was not for it.
				if v := s.step("desired", "", "body.twin.$version", n); v.at("body.delta.early") != nil {
					t.Errorf("it was told before it subscribed: %v", v)
				}
				s.step("subscribed", "")
				rest(t, w, "PATCH", c.path, `{"properties":{"desired":{"only":1,"early":null,"deep":{"n":2}}}}`)
				s.step("desired", "", "body.delta.$version", n+2, "body.delta.early", nil, "body.delta.deep.n", 2, "body.twin.$version", n+2)
				rest(t, w, "PUT", c.path, `{"properties":{"desired":{"only":"end"}}}`)
				s.step("desired", "", "body.delta", fmt.Sprintf("map[$version:%v only:end]", n+3))
				s.step("ended", "", "body", 2)
			})
		}
		t.Run("C34 twins of modules are their own over "+tr.name, func(t *testing.T) {
			covers(t, "C34", tr.pkg)
			d, m := rest(t, w, "GET", all[0].path, ""), rest(t, w, "GET", all[1].path, "")
			if d.at("moduleId") != nil || m.at("moduleId") != "m" || d.at("etag") == nil || fmt.Sprint(d["properties"]) == fmt.Sprint(m["properties"]) {
				t.Errorf("%v\n%v", d, m)
			}
		})
		t.Run("C32 bad reports over "+tr.name, func(t *testing.T) {
			covers(t, "C32", tr.pkg)
			s := play(t, w, "twins.js", "refused", all[0].env, "TRANSPORT="+tr.name)
			for _, c := range [][2]string{
				{"depth", "nested"}, {"size", "bytes"}, {"long string", "bytes"}, {"key with a dot", "a.b"}, {"key with a dollar", "$b"}, {"no object", "object"}, {"number", "integer"},
			} {
				if v := s.step(c[0], "Error"); !strings.Contains(v.text("message"), c[1]) {
					t.Errorf("%v", v)
				}
			}
			s.step("good", "")
			if at := rest(t, w, "GET", all[0].path, "").at("properties.reported.good"); at != true {
				t.Errorf("it reported %v", at)
			}
		})
	}
}
