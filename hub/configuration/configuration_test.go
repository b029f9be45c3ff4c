package configuration_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/configuration"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	*hubtest.World
	*configuration.Engine
	t   *testing.T
	hub *hub.Hub
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := hubtest.Start(t, hubtest.Options{})
	return &world{w, configuration.New(configuration.Config{}, w.Server, slog.New(slog.DiscardHandler), clock.System{}), t, w.Hub(hubtest.Contoso)}
}

// settle runs the engine until its counts are those of every configuration, which is once over all of them.
func (w *world) settle() {
	w.t.Helper()
	if err := w.Engine.CarryOut(w.t.Context(), w.hub); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) device(d hubstore.Device, tags string) {
	w.t.Helper()
	if _, err := w.hub.CreateDevice(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.hub.PatchTwin(w.t.Context(), d.Name(), []byte(`{"tags":`+tags+`}`), ""); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(id, target string, priority int64, content string) configuration.Configuration {
	w.t.Helper()
	c := configuration.Configuration{ID: id, Target: target, Priority: priority}
	if err := json.Unmarshal([]byte(content), &c.Content); err != nil {
		w.t.Fatal(err)
	}
	c, err := w.Create(w.t.Context(), w.hub, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) has(n hub.Name, want string) {
	w.t.Helper()
	twin, err := w.hub.Twin(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	if twin.Desired.Text != want {
		w.t.Errorf("%s has %s, want %s", n, twin.Desired.Text, want)
	}
}

func (w *world) counts(id string, system configuration.Results) configuration.Configuration {
	w.t.Helper()
	c, err := w.Get(w.t.Context(), w.hub, id)
	if err != nil {
		w.t.Fatal(err)
	}
	if !maps.Equal(c.System, system) {
		w.t.Errorf("%s counts %v, want %v", id, c.System, system)
	}
	return c
}

func TestTheHigherPriorityWins(t *testing.T) {
	w := newWorld(t)
	a, b := hub.Name{Device: "a"}, hub.Name{Device: "b"}
	w.device(hubstore.Device{ID: "a"}, `{"plant":"43","hot":true}`)
	w.device(hubstore.Device{ID: "b"}, `{"plant":"43"}`)
	w.device(hubstore.Device{ID: "c"}, `{}`)
	w.create("all", "tags.plant = '43'", 1, `{"deviceContent":{"properties.desired":{"rate":1},"properties.desired.fan":{"on":false,"speed":1}}}`)
	w.create("hot", "tags.hot = true", 5, `{"deviceContent":{"properties.desired.fan":{"on":true}}}`)
	w.settle()
	w.has(a, `{"fan":{"on":true},"rate":1}`)
	w.has(b, `{"fan":{"on":false,"speed":1},"rate":1}`)
	w.has(hub.Name{Device: "c"}, `{}`)
	w.counts("all", configuration.Results{"targetedCount": 2, "appliedCount": 2})
	w.counts("hot", configuration.Results{"targetedCount": 1, "appliedCount": 1})

	// What others write later stays.
	if _, err := w.hub.PatchTwin(t.Context(), b, []byte(`{"properties":{"desired":{"rate":7}}}`), ""); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.has(b, `{"fan":{"on":false,"speed":1},"rate":7}`)

	// A device that does not meet the condition any more takes on the next one.
	if _, err := w.hub.PatchTwin(t.Context(), a, []byte(`{"tags":{"hot":null}}`), ""); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.has(a, `{"fan":{"on":false,"speed":1},"rate":1}`)
	w.counts("hot", configuration.Results{"targetedCount": 0, "appliedCount": 0})

	// One that is deleted leaves what it wrote.
	if err := w.Delete(t.Context(), w.hub, "all", hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.has(a, `{"fan":{"on":false,"speed":1},"rate":1}`)
}

func TestModulesAreConfigured(t *testing.T) {
	w := newWorld(t)
	w.device(hubstore.Device{ID: "a"}, `{}`)
	w.device(hubstore.Device{ID: "a", Module: "m"}, `{"kind":"x"}`)
	w.device(hubstore.Device{ID: "a", Module: "n"}, `{}`)
	w.create("mods", "FROM devices.modules WHERE tags.kind = 'x'", 1, `{"moduleContent":{"properties.desired.rate":5}}`)
	w.settle()
	w.has(hub.Name{Device: "a", Module: "m"}, `{"rate":5}`)
	w.has(hub.Name{Device: "a", Module: "n"}, `{}`)
	w.has(hub.Name{Device: "a"}, `{}`)
}

const (
	base    = `{"modulesContent":{"$edgeAgent":{"properties.desired":{"schemaVersion":"1.1","modules":{}}},"$edgeHub":{"properties.desired":{"routes":{}}}}}`
	other   = `{"modulesContent":{"$edgeAgent":{"properties.desired":{"schemaVersion":"1.0"}},"$edgeHub":{"properties.desired":{}}}}`
	layered = `{"modulesContent":{"$edgeAgent":{"properties.desired.modules.sensor":{"type":"docker"}},"sensor":{"properties.desired":{"rate":5}}}}`
)

func TestDeploymentsOfEdgeDevices(t *testing.T) {
	w := newWorld(t)
	agent, sensor := hub.Name{Device: "e", Module: hub.EdgeAgent}, hub.Name{Device: "e", Module: "sensor"}
	w.device(hubstore.Device{ID: "e", Edge: true}, `{"x":1}`)
	w.device(hubstore.Device{ID: "plain"}, `{"x":1}`)
	w.create("layer", "tags.x = 1", 20, layered)
	w.settle()
	w.has(agent, `{}`) // a layer needs something to lie on
	w.create("base", "*", 10, base)
	w.create("beaten", "tags.x = 1", 5, other)
	w.create("low", "*", 1, strings.ReplaceAll(layered, "sensor", "never"))
	w.settle()
	w.has(agent, `{"modules":{"sensor":{"type":"docker"}},"schemaVersion":"1.1"}`)
	w.has(sensor, `{"rate":5}`)
	w.has(hub.Name{Device: "e", Module: hub.EdgeHub}, `{"routes":{}}`)
	if m, err := w.hub.Identity(t.Context(), sensor); err != nil || m.ManagedBy != "iotEdge" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := w.hub.Identity(t.Context(), hub.Name{Device: "e", Module: "never"}); code.Of(err) != code.ModuleNotFound {
		t.Errorf("a layer below the base counts: %v", err)
	}
	w.has(hub.Name{Device: "plain"}, `{}`)
	w.counts("base", configuration.Results{"targetedCount": 1, "appliedCount": 1, "reportedSuccessfulCount": 0, "reportedFailedCount": 0})
	w.counts("beaten", configuration.Results{"targetedCount": 1, "appliedCount": 0, "reportedSuccessfulCount": 0, "reportedFailedCount": 0})
}

func TestMetricsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.device(hubstore.Device{ID: "a"}, `{"plant":"43"}`)
	w.device(hubstore.Device{ID: "b"}, `{"plant":"43"}`)
	_, err := w.Create(t.Context(), w.hub, configuration.Configuration{
		ID: "c", Target: "tags.plant = '43'", Content: configuration.Content{Device: map[string]json.RawMessage{"properties.desired.x": json.RawMessage(`1`)}},
		Metrics: map[string]string{"configured": "SELECT deviceId FROM devices WHERE properties.desired.x = 1", "none": "SELECT deviceId FROM devices WHERE tags.plant = '44'"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.settle()
	c := w.counts("c", configuration.Results{"targetedCount": 2, "appliedCount": 2})
	if want := (configuration.Results{"configured": 2, "none": 0}); !maps.Equal(c.Results, want) {
		t.Errorf("metrics %v, want %v", c.Results, want)
	}
	for name, text := range c.SystemQueries {
		p, err := w.hub.Query(t.Context(), text, 10, "")
		if err != nil || len(p.Items) != c.System[name] {
			t.Errorf("%s: %q finds %d, %v", name, text, len(p.Items), err)
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	content := configuration.Content{Device: map[string]json.RawMessage{"properties.desired": json.RawMessage(`{}`)}}
	good := configuration.Configuration{ID: "c", Target: "*", Content: content}
	for name, change := range map[string]func(*configuration.Configuration){
		"no id":              func(c *configuration.Configuration) { c.ID = "" },
		"capitals":           func(c *configuration.Configuration) { c.ID = "C" },
		"no content":         func(c *configuration.Configuration) { c.Content = configuration.Content{} },
		"two contents":       func(c *configuration.Configuration) { c.Content.Module = content.Device },
		"a path of the tags": func(c *configuration.Configuration) { c.Content.Device = map[string]json.RawMessage{"tags": nil} },
		"an empty path": func(c *configuration.Configuration) {
			c.Content.Device = map[string]json.RawMessage{"properties.desired.": nil}
		},
		"a path that is too deep": func(c *configuration.Configuration) {
			c.Content.Device = map[string]json.RawMessage{"properties.desired" + strings.Repeat(".a", 12): nil}
		},
		"a wrong condition":    func(c *configuration.Configuration) { c.Target = "tags.x ==" },
		"a wrong metric":       func(c *configuration.Configuration) { c.Metrics = map[string]string{"m": "SELECT"} },
		"an unreadable target": func(c *configuration.Configuration) { c.Target = "FROM devices WHERE" },
	} {
		c := good
		change(&c)
		if _, err := w.Create(t.Context(), w.hub, c); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	made, err := w.Create(t.Context(), w.hub, good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Create(t.Context(), w.hub, good); code.Of(err) != code.ConfigurationExists {
		t.Errorf("twice: %v", err)
	}
	if _, err := w.Get(t.Context(), w.hub, "x"); code.Of(err) != code.ConfigurationNotFound {
		t.Errorf("nobody's: %v", err)
	}
	if _, err := w.Update(t.Context(), w.hub, good, "other"); fault.KindOf(err) != fault.Precondition {
		t.Errorf("another etag: %v", err)
	}
	good.Priority, good.Content = 7, configuration.Content{Device: map[string]json.RawMessage{"properties.desired.x": json.RawMessage(`1`)}}
	next, err := w.Update(t.Context(), w.hub, good, `"`+made.ETag+`"`)
	if err != nil || next.Priority != 7 || next.ETag == made.ETag || string(next.Content.Device["properties.desired"]) != "{}" {
		t.Errorf("%+v, %v", next, err)
	}
	if err := w.Delete(t.Context(), w.hub, "c", made.ETag); fault.KindOf(err) != fault.Precondition {
		t.Errorf("an old etag: %v", err)
	}
	if target, metrics := w.TestQueries("tags.x = ", map[string]string{"good": "SELECT * FROM devices", "bad": "SELECT"}); target == "" || len(metrics) != 1 || metrics["bad"] == "" {
		t.Errorf("%q %v", target, metrics)
	}
}

func TestContentIsAppliedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.device(hubstore.Device{ID: "e", Edge: true}, `{}`)
	w.device(hubstore.Device{ID: "plain"}, `{}`)
	var c configuration.Content
	if err := json.Unmarshal([]byte(base), &c); err != nil {
		t.Fatal(err)
	}
	if err := w.ApplyContent(t.Context(), w.hub, "plain", c); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a deployment for a plain device: %v", err)
	}
	if err := w.ApplyContent(t.Context(), w.hub, "nobody", c); fault.KindOf(err) != fault.NotFound {
		t.Errorf("for nobody: %v", err)
	}
	if err := w.ApplyContent(t.Context(), w.hub, "e", c); err != nil {
		t.Fatal(err)
	}
	w.has(hub.Name{Device: "e", Module: hub.EdgeHub}, `{"routes":{}}`)
}

// TestRunCarriesOutWhatChanges: whoever listens hears of a configuration soon after it was made.
func TestRunCarriesOutWhatChanges(t *testing.T) {
	w := newWorld(t)
	d := w.Device(hubtest.Contoso, "d")
	heard := make(chan json.RawMessage, 1)
	s, err := w.hub.Connect(t.Context(), hub.Request{Device: "d", Token: w.Token(hubtest.Contoso, d), Receiver: listener(heard), Cut: func(hub.Cause) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	s.Listen(hub.DesiredProperties, true)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer all.Wait()
	defer cancel()
	w.create("c", "*", 1, `{"deviceContent":{"properties.desired.rate":5}}`)
	select {
	case patch := <-heard:
		if !strings.Contains(string(patch), `"rate":5`) {
			t.Errorf("heard %s", patch)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing was heard")
	}
}

type listener chan json.RawMessage

func (l listener) DesiredChanged(_ int64, patch json.RawMessage) { l <- patch }
func (l listener) MethodCalled(hub.MethodCall)                   {}
func (l listener) CommandsWaiting()                              {}
