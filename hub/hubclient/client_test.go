package hubclient_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clients are one over HTTPS and one over the socket.
func clients(t *testing.T, w *hubtest.World) map[string]*hubclient.Client {
	t.Helper()
	text, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyOwner)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*hubclient.Client{}
	for name, cfg := range map[string]hubclient.Config{
		"https": {Connection: cs, Address: w.HTTPS, Roots: w.Roots}, "socket": {Socket: w.Admin, Hub: hubtest.Contoso},
	} {
		c, err := hubclient.New(cfg, clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		out[name] = c
	}
	return out
}

func both(t *testing.T, test func(t *testing.T, w *hubtest.World, c *hubclient.Client)) {
	w := hubtest.Start(t, hubtest.Options{Full: true})
	for name, c := range clients(t, w) {
		t.Run(name, func(t *testing.T) { test(t, w, c) })
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fails(t *testing.T, err error, kind fault.Kind, c code.Code) {
	t.Helper()
	if fault.KindOf(err) != kind || code.Of(err) != c {
		t.Errorf("%v: %v %+v, want %v %+v", err, fault.KindOf(err), code.Of(err), kind, c)
	}
}

func TestIdentities(t *testing.T) {
	both(t, func(t *testing.T, _ *hubtest.World, c *hubclient.Client) {
		ctx := t.Context()
		d, err := c.Create(ctx, hubclient.Device{ID: "d#1", Capabilities: &hubclient.Capabilities{IoTEdge: true}})
		ok(t, err)
		_, err = c.Create(ctx, hubclient.Device{ID: "d#1"})
		fails(t, err, fault.Conflict, code.DeviceAlreadyExists)
		m, err := c.Create(ctx, hubclient.Device{ID: "d#1", ModuleID: "m", ManagedBy: "me"})
		ok(t, err)
		_, err = c.Create(ctx, hubclient.Device{ID: "d#1", ModuleID: "m"})
		fails(t, err, fault.Conflict, code.ModuleAlreadyExists)
		if m.Name() != "d#1/m" || m.ManagedBy != "me" || d.Scope == "" {
			t.Errorf("%+v %+v", d, m)
		}
		list, err := c.Modules(ctx, "d#1")
		ok(t, err)
		if len(list) != 3 || list[2].ModuleID != "m" {
			t.Errorf("%+v", list)
		}
		_, err = c.Device(ctx, "d#1/none")
		fails(t, err, fault.NotFound, code.ModuleNotFound)
		m.ManagedBy = "you"
		m, err = c.Update(ctx, m, m.ETag)
		ok(t, err)
		if cut, err := c.RenewDeviceKey(ctx, "d#1/m", hubclient.Primary); cut != 0 || err != nil {
			t.Error(cut, err)
		}
		fails(t, c.Delete(ctx, "d#1/m", m.ETag), fault.Precondition, code.PreconditionFailed)
		failed, err := c.Change(ctx, []hubclient.Change{
			{Device: hubclient.Device{ID: "d#1"}, Mode: hubclient.ToCreate}, {Device: hubclient.Device{ID: "new"}, Mode: hubclient.ToCreate},
			{Device: hubclient.Device{ID: "d#1", ModuleID: "m", ETag: "stale"}, Mode: hubclient.ToDeleteIfMatch},
		})
		ok(t, err)
		if len(failed) != 2 {
			t.Errorf("%v", failed)
		}
		fails(t, failed["d#1"], fault.Conflict, code.DeviceAlreadyExists)
		fails(t, failed["d#1/m"], fault.Precondition, code.PreconditionFailed)
		if s, err := c.Statistics(ctx); err != nil || s != (hubclient.Statistics{Total: 2, Enabled: 2}) {
			t.Errorf("%+v, %v", s, err)
		}
		for _, name := range []string{"d#1/m", "d#1", "new"} {
			ok(t, c.Delete(ctx, name, hubclient.Any))
		}
	})
}

func TestTwinsAndQueries(t *testing.T) {
	both(t, func(t *testing.T, _ *hubtest.World, c *hubclient.Client) {
		ctx := t.Context()
		for i := range 12 {
			name := hubclient.Device{ID: fmt.Sprintf("d%02d", i)}
			_, err := c.Create(ctx, name)
			ok(t, err)
			_, err = c.PatchTwin(ctx, name.ID, hubclient.Twin{Tags: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))}, hubclient.Any)
			ok(t, err)
			defer func() { ok(t, c.Delete(ctx, name.ID, hubclient.Any)) }()
		}
		_, err := c.Create(ctx, hubclient.Device{ID: "d00", ModuleID: "m"})
		ok(t, err)
		_, err = c.ReplaceTwin(ctx, "d00/m", hubclient.Twin{Properties: hubclient.TwinProperties{Desired: json.RawMessage(`{"a":1}`)}}, hubclient.Any)
		ok(t, err)
		if tw, err := c.Twin(ctx, "d00/m"); err != nil || tw.ModuleID != "m" {
			t.Errorf("%+v, %v", tw, err)
		}
		_, err = c.PatchTwin(ctx, "d00", hubclient.Twin{Tags: json.RawMessage(`{}`)}, "stale")
		fails(t, err, fault.Precondition, code.PreconditionFailed)
		p, err := c.Find(ctx, "SELECT deviceId FROM devices WHERE tags.n >= 2", 4, "")
		ok(t, err)
		if p.Kind != "Raw" || len(p.Items) != 4 || p.Continuation == "" {
			t.Errorf("%+v", p)
		}
		var ids []string
		for item, err := range c.FindAll(ctx, "SELECT deviceId FROM devices WHERE tags.n >= 2") {
			ok(t, err)
			ids = append(ids, string(item))
		}
		if len(ids) != 10 || !slices.IsSorted(ids) {
			t.Errorf("%v", ids)
		}
		for _, err := range c.FindAll(ctx, "SELECT nonsense") {
			fails(t, err, fault.Invalid, code.ArgumentInvalid)
		}
		if text, err := c.Plan(ctx, "SELECT * FROM devices"); err != nil || text == "" {
			t.Error(text, err)
		}
		ok(t, c.DeclareIndex(ctx, "properties.reported.firmware"))
		if list, err := c.Indexes(ctx); err != nil || !slices.Contains(list, "properties.reported.firmware") {
			t.Error(list, err)
		}
		ok(t, c.DropIndex(ctx, "properties.reported.firmware"))
	})
}

func TestDevicesAreReached(t *testing.T) {
	both(t, func(t *testing.T, w *hubtest.World, c *hubclient.Client) {
		ctx, h := t.Context(), w.Hub(hubtest.Contoso)
		settings := h.CommandSettings()
		settings.FeedbackDelay = 0
		ok(t, h.SetCommandSettings(ctx, settings))
		d := w.Device(hubtest.Contoso, t.Name()[len("TestDevicesAreReached/"):])
		_, err := c.Invoke(ctx, d.ID, hubclient.Method{Name: "reboot"})
		fails(t, err, fault.NotFound, code.DeviceNotOnline)
		sent, err := c.SendCommand(ctx, d.ID, hubclient.Command{MessageID: "m", Ack: "full", Body: []byte{0, 255}, Properties: map[string]string{"a": "1"}})
		ok(t, err)
		if sent.MessageID != "m" || sent.Expires.Before(time.Now()) {
			t.Errorf("%+v", sent)
		}
		if got, err := c.Device(ctx, d.ID); err != nil || got.Commands != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		if n, err := c.PurgeCommands(ctx, d.ID); n != 1 || err != nil {
			t.Error(n, err)
		}
		list, lock, err := c.ReceiveFeedback(ctx)
		ok(t, err)
		if len(list) != 1 || list[0].MessageID != "m" || list[0].Status != "Purged" {
			t.Fatalf("%+v", list)
		}
		ok(t, c.AbandonFeedback(ctx, lock))
		_, lock, err = c.ReceiveFeedback(ctx)
		ok(t, err)
		ok(t, c.CompleteFeedback(ctx, lock))
		fails(t, c.CompleteFeedback(ctx, lock), fault.Precondition, code.MessageLockLost)
		if list, lock, err := c.ReceiveFeedback(ctx); len(list) != 0 || lock != "" || err != nil {
			t.Error(list, lock, err)
		}
		if list, err := c.Connections(ctx); err != nil || len(list) != 0 {
			t.Error(list, err)
		}
		if why, err := c.Why(ctx, d.ID); err != nil || why.Identity == nil || why.Session != nil || len(why.Findings) == 0 {
			t.Errorf("%+v, %v", why, err)
		}
	})
}

func TestTheHubItself(t *testing.T) {
	both(t, func(t *testing.T, _ *hubtest.World, c *hubclient.Client) {
		ctx := t.Context()
		_, err := c.AddAuthority(ctx, "x", "no certificate", false)
		fails(t, err, fault.Invalid, code.ArgumentInvalid)
		for _, f := range []func() error{
			func() error { _, err := c.Authority(ctx, "x"); return err },
			func() error { _, err := c.ChallengeAuthority(ctx, "x"); return err },
			func() error { _, err := c.DeleteAuthority(ctx, "x"); return err },
			func() error { return c.DeleteRoute(ctx, "x") },
			func() error { return c.DeleteEndpoint(ctx, "x") },
			func() error { return c.DeleteConsumerGroup(ctx, "", "x") },
		} {
			fails(t, f(), fault.NotFound, code.NotFound)
		}
		if list, err := c.Authorities(ctx); err != nil || len(list) != 0 {
			t.Error(list, err)
		}
		_, err = c.PutEndpoint(ctx, hubclient.Endpoint{Name: "hot", Kind: "stream"})
		ok(t, err)
		r, err := c.PutRoute(ctx, hubclient.Route{Name: "warm", Condition: "level = 'high'", Endpoints: []string{"hot"}, Enabled: true})
		ok(t, err)
		if r.Source != "DeviceMessages" {
			t.Errorf("%+v", r)
		}
		_, err = c.PutEnrichment(ctx, hubclient.Enrichment{Key: "site", Value: "7", Endpoints: []string{"hot"}})
		ok(t, err)
		tested, err := c.TestRoutes(ctx, hubclient.Sample{Properties: map[string]string{"level": "high"}}, nil)
		ok(t, err)
		if tested.Result != "true" || !slices.Contains(tested.Endpoints, "hot") {
			t.Errorf("%+v", tested)
		}
		ok(t, c.SetFallback(ctx, false))
		if all, err := c.Routing(ctx); err != nil || all.Fallback || len(all.Routes) != 1 || len(all.Endpoints) == 0 || len(all.Enrichments) != 1 {
			t.Errorf("%+v, %v", all, err)
		}
		ok(t, c.SetFallback(ctx, true))
		g, err := c.CreateConsumerGroup(ctx, "", "readers")
		ok(t, err)
		ok(t, c.SetCheckpoints(ctx, "", "readers", "me", map[int]int64{0: 0}))
		if list, err := c.Checkpoints(ctx, "", "readers"); err != nil || len(list) == 0 || g.Name != "readers" {
			t.Error(list, err)
		}
		if list, err := c.ConsumerGroups(ctx, ""); err != nil || len(list) < 1 {
			t.Error(list, err)
		}
		ok(t, c.DeleteConsumerGroup(ctx, "", "readers"))
		ok(t, c.DeleteEnrichment(ctx, "site"))
		ok(t, c.DeleteRoute(ctx, "warm"))
		ok(t, c.DeleteEndpoint(ctx, "hot"))
		before, err := c.Limits(ctx)
		ok(t, err)
		after, err := c.SetLimits(ctx, &hubclient.Limits{Device: map[string]hubclient.Rate{"messages": {PerSecond: 7, Burst: 9}}})
		ok(t, err)
		if after.Device["messages"].PerSecond != 7 {
			t.Errorf("%+v", after)
		}
		again, err := c.SetLimits(ctx, nil)
		ok(t, err)
		if again.Device["messages"] != before.Device["messages"] {
			t.Errorf("%+v, %+v", again, before)
		}
		if list, err := c.Policies(ctx); err != nil || len(list) != 5 {
			t.Error(list, err)
		}
	})
}

func TestManyDevices(t *testing.T) {
	both(t, func(t *testing.T, _ *hubtest.World, c *hubclient.Client) {
		ctx := t.Context()
		id := t.Name()[len("TestManyDevices/"):]
		j, err := c.ScheduleJob(ctx, hubclient.Job{ID: id, Type: hubclient.UpdateTwins, Condition: "*", Twin: json.RawMessage(`{"tags":{"a":1}}`), Starts: time.Now().Add(time.Hour).UTC().Format(time.RFC3339), Seconds: 60})
		ok(t, err)
		if j.ID != id {
			t.Errorf("%+v", j)
		}
		_, err = c.ScheduleJob(ctx, hubclient.Job{ID: id, Type: hubclient.UpdateTwins, Twin: json.RawMessage(`{}`), Seconds: 60})
		fails(t, err, fault.Conflict, code.JobAlreadyExists)
		_, err = c.Job(ctx, "none")
		fails(t, err, fault.NotFound, code.JobNotFound)
		if j, err = c.CancelJob(ctx, id); err != nil || j.Status != "cancelled" {
			t.Errorf("%+v, %v", j, err)
		}
		found := false
		for j, err := range c.Jobs(ctx, hubclient.UpdateTwins, "") {
			ok(t, err)
			found = found || j.ID == id && !hubclient.Time(j.Created).IsZero()
		}
		if !found {
			t.Error("the job is not listed")
		}
		if list, err := c.Transfers(ctx); err != nil || len(list) != 0 {
			t.Error(list, err)
		}
		_, err = c.Transfer(ctx, "none")
		fails(t, err, fault.NotFound, code.JobNotFound)
		conf, err := c.CreateConfiguration(ctx, hubclient.Configuration{
			ID: id, Target: "tags.a = 1", Priority: 3, Content: json.RawMessage(`{"deviceContent":{"properties.desired.x":{"y":1}}}`),
		})
		ok(t, err)
		conf.Priority = 4
		if conf, err = c.UpdateConfiguration(ctx, conf, conf.ETag); err != nil || conf.Priority != 4 {
			t.Errorf("%+v, %v", conf, err)
		}
		if list, err := c.Configurations(ctx, 10); err != nil || len(list) != 1 {
			t.Error(list, err)
		}
		if wrong, _, err := c.TestQueries(ctx, "tags.a =", nil); wrong == "" || err != nil {
			t.Error(wrong, err)
		}
		ok(t, c.DeleteConfiguration(ctx, id, hubclient.Any))
		_, err = c.Configuration(ctx, id)
		fails(t, err, fault.NotFound, code.ConfigurationNotFound)
		fails(t, c.ApplyContent(ctx, "nobody", json.RawMessage(`{"deviceContent":{"properties.desired.x":1}}`)), fault.NotFound, code.DeviceNotFound)
	})
}
