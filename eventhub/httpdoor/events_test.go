package httpdoor_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventhub/httpdoor"
	"github.com/isthmus-io/isthmus/eventlog"
)

const batch = "Content-Type: application/vnd.microsoft.servicebus.json"

// read returns the events of a path, which has an end.
func (w *world) read(path string) []httpdoor.EventJSON {
	w.t.Helper()
	r := w.want(http.StatusOK, "GET", path, "")
	var out []httpdoor.EventJSON
	for line := range strings.Lines(r.raw) {
		var e httpdoor.EventJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func bodies(list []httpdoor.EventJSON) string {
	var out []string
	for _, e := range list {
		out = append(out, string(e.Body))
	}
	return strings.Join(out, " ")
}

func TestSendingOverHTTP(t *testing.T) {
	w := start(t, false, et.Options{})
	w.Create("telemetry", 4)
	r := w.want(http.StatusCreated, "POST", "/Telemetry/messages?api-version=2014-01", "\x00one", `BrokerProperties: {"PartitionKey":"pk1"}`, "Content-Type: text/plain", "Isthmus-App-Line: 7")
	// pk1 hashes to 13741, see the hash that Event Hubs' clients publish.
	if r.body["partition"] != 1.0 || r.body["sequenceNumber"] != 0.0 || r.body["events"] != 1.0 {
		t.Errorf("%s", r.raw)
	}
	w.want(http.StatusCreated, "POST", "~/telemetry/partitions/1/messages", `[{"Body":"two"},{"BodyBase64":"AP8=","ContentType":"x/y","UserProperties":{"n":1.5,"b":true,"s":"t"}}]`, batch)
	r = w.want(http.StatusCreated, "POST", "/telemetry/messages", `[{"Body":"three","BrokerProperties":{"PartitionKey":"pk1"}},{"Body":"four"}]`, batch)
	if r.body["partition"] != 1.0 || r.body["sequenceNumber"] != 3.0 || r.body["events"] != 2.0 {
		t.Errorf("%s", r.raw)
	}
	list := w.read("~/telemetry/messages?partition=1")
	if bodies(list) != "\x00one two \x00\xff three four" {
		t.Fatalf("%q", bodies(list))
	}
	if e := list[0]; e.PartitionKey != "pk1" || e.Properties["line"] != "7" || e.System["content-type"] != "text/plain" || e.Enqueued.IsZero() || e.Partition != 1 {
		t.Errorf("%+v", e)
	}
	if e := list[2]; e.Properties["n"] != "1.5" || e.Properties["b"] != "true" || e.Properties["s"] != "t" || e.System["content-type"] != "x/y" || e.Sequence != 2 {
		t.Errorf("%+v", e)
	}
	for body, status := range map[string]int{
		`[]`: 400, `{}`: 400, `x`: 400, `[{"Body":"a","UserProperties":{"x":[1]}}]`: 400,
		`[{"Body":"a","BrokerProperties":{"PartitionKey":"x"}},{"Body":"a","BrokerProperties":{"PartitionKey":"y"}}]`: 400,
		`[{"Body":"a"},{"Body":"a","BrokerProperties":{"PartitionKey":"y"}}]`:                                         400,
		`[{"Body":"` + strings.Repeat("x", 1<<19) + `"},{"Body":"` + strings.Repeat("x", 1<<19) + `"}]`:               413,
	} {
		w.want(status, "POST", "~/telemetry/messages", body, batch)
	}
	w.want(413, "POST", "~/telemetry/messages", strings.Repeat("x", 1<<20+1))
	w.want(400, "POST", "~/telemetry/messages", "x", "BrokerProperties: x")
	w.want(400, "POST", "~/telemetry/partitions/1/messages", "x", `BrokerProperties: {"PartitionKey":"pk1"}`)
	w.want(404, "POST", "~/telemetry/partitions/4/messages", "x")
	w.want(404, "POST", "~/nothing/messages", "x")
	if n := len(w.read("~/telemetry/messages")); n != 5 {
		t.Errorf("%d events are there: what was refused left some", n)
	}
	w.want(http.StatusCreated, "POST", "~/telemetry/messages", "")
	w.want(http.StatusCreated, "POST", "~/telemetry/messages", strings.Repeat("x", 1<<20-1000))
}

func TestReadingOverHTTP(t *testing.T) {
	w := start(t, false, et.Options{})
	e := w.Create("telemetry", 2)
	w.Append(e, 0, "a", "b")
	at := w.Append(e, 1, "c", "d")
	_, err := et.Append(e, eventlog.Batch{Partition: 1, Events: []eventlog.Event{{Body: []byte("e"), Format: 1}, {Body: []byte("f"), Format: 9}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Namespace.CreateGroup(t.Context(), "telemetry", "g")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Namespace.SetCheckpoint(t.Context(), "telemetry", "g", eventhub.Checkpoint{Partition: 1, Sequence: 2}, "")
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"partition=0": "a b", "partition=1&from=1": "d plain e f", "partition=1&from=start&limit=1": "c", "partition=1&from=9": "", "from=end": "",
		"from=0:1,1:2": "b plain e f", "from=1:3": "a b f", "partition=1&from=" + at.Enqueued.Format(time.RFC3339Nano): "c d plain e f", "from=2999-01-01T00:00:00Z": "",
		"group=g": "a b f", "group=g&from=1": "b d plain e f", "partition=0&limit=1&follow=1": "a",
	} {
		if got := bodies(w.read("~/telemetry/messages?" + query)); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for query, status := range map[string]int{"from=x": 400, "from=-1": 400, "from=1:x": 400, "limit=0": 400, "limit=x": 400, "partition=2": 404, "partition=x": 404, "group=nobody": 404} {
		w.want(status, "GET", "~/telemetry/messages?"+query, "")
	}
	list := w.read("~/telemetry/messages?partition=1&from=2")
	if list[0].Format != 0 || list[0].Properties["a"] != "b" || list[1].Format != 9 || list[1].Properties != nil {
		t.Errorf("%+v", list)
	}
	r := w.want(http.StatusOK, "GET", "~/telemetry/messages?from=1:3", "")
	if p := r.Header.Get(httpdoor.PositionsHeader); p != "0:0,1:3" {
		t.Errorf("positions %s", p)
	}
}

// follow begins to follow, reads what is there, and returns the lines to come.
func (w *world) follow(token string, there int) (next func() string) {
	w.t.Helper()
	resp := w.open("GET", "~/telemetry/messages?follow=1", "", "Authorization: "+token)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		w.t.Fatal(resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	next = func() string {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return "the end"
		}
		var e httpdoor.EventJSON
		if err != nil || json.Unmarshal(line, &e) != nil {
			w.t.Fatalf("%s, %v", line, err)
		}
		return string(e.Body)
	}
	for range there {
		next()
	}
	return next
}

func TestFollowing(t *testing.T) {
	for name, end := range map[string]func(w *world, clk *clock.Fake) error{
		"the event hub is deleted": func(w *world, _ *clock.Fake) error { return w.Namespace.DeleteEventHub(w.t.Context(), "telemetry") },
		"the event hub is disabled": func(w *world, _ *clock.Fake) error {
			off := true
			_, err := w.Namespace.ChangeEventHub(w.t.Context(), "telemetry", eventhub.Change{Disabled: &off})
			return err
		},
		"the key is renewed": func(w *world, _ *clock.Fake) error {
			return w.Namespace.RenewPolicyKey(w.t.Context(), "", eventhub.PolicyRoot, eventhub.Primary, "a test")
		},
		"the token ends": func(_ *world, clk *clock.Fake) error {
			clk.Advance(2 * time.Hour)
			return nil
		},
		"the namespace goes": func(w *world, _ *clock.Fake) error { return w.Server.SetNamespaces(w.t.Context(), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			clk := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			w := start(t, false, et.Options{Clock: clk})
			e := w.Create("telemetry", 2)
			w.Append(e, 0, "a")
			next := w.follow(w.Root(), 1)
			w.Append(e, 1, "b")
			if got := next(); got != "b" {
				t.Errorf("%s came", got)
			}
			if err := end(w, clk); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != "the end" {
				t.Errorf("%s came", got)
			}
		})
	}
}

// Renewing the other key, or another policy's, leaves a reader alone.
func TestFollowingGoesOn(t *testing.T) {
	w := start(t, false, et.Options{})
	e := w.Create("telemetry", 1)
	next := w.follow(w.Root(), 0)
	if err := w.Namespace.RenewPolicyKey(t.Context(), "", eventhub.PolicyRoot, eventhub.Secondary, "a test"); err != nil {
		t.Fatal(err)
	}
	w.Append(e, 0, "a")
	if got := next(); got != "a" {
		t.Errorf("%s came", got)
	}
}
