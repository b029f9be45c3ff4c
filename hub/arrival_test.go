package hub_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

const (
	firstKey  = "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="
	secondKey = "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// newcomer is one with all that a full export has.
func newcomer() hub.Newcomer {
	return hub.Newcomer{
		Device: hubstore.Device{ID: "pump", PrimaryKey: firstKey, SecondaryKey: secondKey, AuthType: hub.AuthSAS, Status: hubstore.Disabled, StatusReason: "spare"},
		Model:  "dtmi:com:example:pump;1", Tags: raw(`{"hall":3}`), Desired: raw(`{"rate":10,"$metadata":{},"$version":7}`), Reported: raw(`{"firmware":"1.4"}`),
	}
}

// bring brings one and wants this to come of it.
func (w *world) bring(mode hub.Mode, n hub.Newcomer, want hub.Arrival) hub.Arrived {
	w.t.Helper()
	got, err := w.hub().Bring(w.t.Context(), mode, []hub.Newcomer{n}, false)
	if err != nil {
		w.t.Fatal(err)
	}
	if got[0].Arrival != want {
		w.t.Fatalf("%s, %v; want %s", got[0].Arrival, got[0].Err, want)
	}
	return got[0]
}

func (w *world) twin(n hub.Name) hub.Twin {
	w.t.Helper()
	t, err := w.hub().Twin(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

func TestWhatIsBroughtTwiceIsBroughtOnce(t *testing.T) {
	w := newWorld(t)
	for _, mode := range []hub.Mode{hub.Create, hub.CreateOrUpdate, hub.Update} {
		n := newcomer()
		n.Device.ID = "pump" + string(rune('0'+mode))
		if mode == hub.Update {
			w.bring(mode, n, hub.NotHere)
			w.bring(hub.Create, n, hub.NewHere)
		} else if a := w.bring(mode, n, hub.NewHere); a.NewKeys {
			t.Error("keys that came were made anew")
		}
		before := w.twin(n.Device.Name())
		if before.PrimaryKey != firstKey || before.Status != hubstore.Disabled || before.Tags != `{"hall":3}` || before.Desired.Text != `{"rate":10}` ||
			before.Reported.Text != `{"firmware":"1.4"}` || before.Model != n.Model {
			t.Errorf("it is %+v", before)
		}
		w.bring(mode, n, hub.SameHere)
		if after := w.twin(n.Device.Name()); after != before {
			t.Errorf("mode %d: brought again, it changed:\n%+v\n%+v", mode, before, after)
		}
	}
}

func TestWhatIsHereIsLeftAloneUnlessAskedFor(t *testing.T) {
	w := newWorld(t)
	w.device("pump")
	key := w.twin(hub.Name{Device: "pump"}).PrimaryKey
	n := newcomer()
	w.bring(hub.Create, n, hub.ChangedHere) // its twin is empty here
	d := w.twin(n.Device.Name())
	if d.PrimaryKey != key || d.Status != hubstore.Enabled || d.Tags != `{"hall":3}` {
		t.Errorf("it is %+v", d)
	}
	w.bring(hub.Create, n, hub.KeptHere)
	n.Tags = raw(`{"hall":4}`)
	w.bring(hub.Create, n, hub.KeptHere)
	w.bring(hub.Update, n, hub.ChangedHere)
	n.Reported = raw(`{"firmware":"0.9"}`) // what the device itself said here is newer
	w.bring(hub.Update, n, hub.SameHere)
	if d = w.twin(n.Device.Name()); d.PrimaryKey != firstKey || d.Status != hubstore.Disabled || d.Tags != `{"hall":4}` || d.Reported.Text != `{"firmware":"1.4"}` {
		t.Errorf("it is %+v", d)
	}
}

func TestKeysThatDoNotComeAreMadeOnce(t *testing.T) {
	w := newWorld(t)
	n := newcomer()
	n.Device.PrimaryKey, n.Device.SecondaryKey = "", ""
	if a := w.bring(hub.CreateOrUpdate, n, hub.NewHere); !a.NewKeys {
		t.Error("nobody is told that keys were made")
	}
	made := w.twin(n.Device.Name()).PrimaryKey
	n.Device.StatusReason = "in use"
	if a := w.bring(hub.CreateOrUpdate, n, hub.ChangedHere); a.NewKeys || made == "" || w.twin(n.Device.Name()).PrimaryKey != made {
		t.Error("keys were made again")
	}
}

func TestATwinAloneWaitsForItsIdentity(t *testing.T) {
	w := newWorld(t)
	n := hub.Newcomer{Device: hubstore.Device{ID: "pump"}, Only: true, Tags: raw(`{"hall":3}`)}
	w.bring(hub.CreateOrUpdate, n, hub.NotHere)
	w.device("pump")
	w.bring(hub.Create, n, hub.ChangedHere)
	w.bring(hub.Create, n, hub.SameHere)
}

func TestEdgeDevicesAndThoseBehindThem(t *testing.T) {
	w := newWorld(t)
	parent := hub.Newcomer{Device: hubstore.Device{ID: "line", Edge: true, Scope: "ms-azure-iot-edge://line-637000000000000000"}}
	w.bring(hub.Create, parent, hub.NewHere)
	agent := hub.Newcomer{Device: hubstore.Device{ID: "line", Module: hub.EdgeAgent, AuthType: hub.AuthNone, ManagedBy: "iotEdge"}, Desired: raw(`{"schemaVersion":"1.1"}`)}
	w.bring(hub.Create, agent, hub.ChangedHere)
	w.bring(hub.CreateOrUpdate, agent, hub.SameHere)
	if d := w.twin(agent.Device.Name()); d.AuthType != hub.AuthSAS || d.PrimaryKey == "" || d.Desired.Text != `{"schemaVersion":"1.1"}` {
		t.Errorf("the runtime's module is %+v", d)
	}
	w.bring(hub.Create, hub.Newcomer{Device: hubstore.Device{ID: "leaf"}, Parent: "line"}, hub.NewHere)
	w.bring(hub.Create, hub.Newcomer{Device: hubstore.Device{ID: "lower", Edge: true}, Parent: "line"}, hub.NewHere)
	leaf, lower := w.twin(hub.Name{Device: "leaf"}), w.twin(hub.Name{Device: "lower"})
	if leaf.Scope != parent.Device.Scope || lower.ParentScopes != `["`+parent.Device.Scope+`"]` || lower.Scope == parent.Device.Scope {
		t.Errorf("leaf in %q, lower behind %q", leaf.Scope, lower.ParentScopes)
	}
	w.bring(hub.CreateOrUpdate, hub.Newcomer{Device: hubstore.Device{ID: "leaf"}, Parent: "line"}, hub.SameHere)
}

func TestWhatIsWrongKeepsNobodyElseOut(t *testing.T) {
	w := newWorld(t)
	w.device("here")
	list := []hub.Newcomer{
		{Device: hubstore.Device{ID: "one"}},
		{Device: hubstore.Device{ID: "no id"}},
		{Device: hubstore.Device{ID: "half", PrimaryKey: firstKey}},
		{Device: hubstore.Device{ID: "deep"}, Tags: raw(`{"a.b":1}`)},
		{Device: hubstore.Device{ID: "broken"}, Tags: raw(`{"a":`)},
		{Device: hubstore.Device{ID: "here", Status: "neither"}},
		{Device: hubstore.Device{ID: "nobody", Module: "m"}},
		{Device: hubstore.Device{ID: "orphan"}, Parent: "nobody"},
		{Device: hubstore.Device{ID: "behind"}, Parent: "one"},
		{Device: hubstore.Device{ID: "two"}},
	}
	for _, trial := range []bool{true, false} {
		got, err := w.hub().Bring(t.Context(), hub.CreateOrUpdate, list, trial)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range got {
			if whole := i == 0 || i == len(list)-1; whole != (a.Err == nil) || whole && a.Arrival != hub.NewHere {
				t.Errorf("%s: %s %v", list[i].Device.ID, a.Arrival, a.Err)
			}
			if a.Err != nil && strings.Contains(a.Err.Error(), firstKey) {
				t.Errorf("a key is in %v", a.Err)
			}
		}
		total, _, err := w.hub().Count(t.Context())
		if want := map[bool]int{true: 1, false: 3}[trial]; err != nil || total != want {
			t.Errorf("trial %v: %d devices, %v", trial, total, err)
		}
	}
}

func TestADeviceHearsOfWhatWasBrought(t *testing.T) {
	w := newWorld(t)
	_, token := w.device("pump")
	heard := make(desiredHeard, 1)
	s, err := w.hub().Connect(t.Context(), hub.Request{Device: "pump", Token: token, Side: public, Receiver: heard, Cut: func(hub.Cause) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	s.Listen(hub.DesiredProperties, true)
	w.bring(hub.Create, hub.Newcomer{Device: hubstore.Device{ID: "pump"}, Desired: raw(`{"rate":5}`)}, hub.ChangedHere)
	if got := string(<-heard); !strings.HasPrefix(got, `{"rate":5,"$version":`) {
		t.Errorf("heard %s", got)
	}
}

func TestADeviceWhoseKeyIsReplacedIsCut(t *testing.T) {
	w := newWorld(t)
	_, token := w.device("pump")
	_, cuts, err := w.connect("pump", token, public)
	if err != nil {
		t.Fatal(err)
	}
	n := newcomer()
	n.Device.Status = hubstore.Enabled
	w.bring(hub.Update, n, hub.ChangedHere)
	if cuts.last() == 0 {
		t.Error("it is still connected with a key that is gone")
	}
}
