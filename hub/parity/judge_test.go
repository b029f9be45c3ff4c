package parity_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/parity"
)

var update = flag.Bool("update", false, "write the page anew")

const samples = "../azureexport/testdata"

// see reads files into a Judge.
func see(t *testing.T, j *parity.Judge, files ...string) {
	t.Helper()
	for _, name := range files {
		f, err := os.Open(filepath.Join(samples, name))
		if err != nil {
			t.Fatal(err)
		}
		j.Begin(name)
		if err := azureexport.Read(f, func(at azureexport.At, thing azureexport.Thing) error { j.See(at, thing); return nil }); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// seeText reads a text into a Judge.
func seeText(t *testing.T, j *parity.Judge, text string) {
	t.Helper()
	j.Begin("text")
	if err := azureexport.Read(strings.NewReader(text), func(at azureexport.At, thing azureexport.Thing) error { j.See(at, thing); return nil }); err != nil {
		j.Broken(err)
	}
}

// brief is a report in a line a finding.
func brief(r parity.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %d %.45s", f.Verdict, f.Count, f.What)
		if len(f.Examples) > 0 {
			fmt.Fprintf(&b, " | %s", strings.Join(f.Examples, "; "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestTheWholePlant is the report of all samples; the page is what people get.
func TestTheWholePlant(t *testing.T) {
	j := parity.New()
	see(t, j, "devices.txt", "device-twin-list.json", "device-identity-show.json", "device-identity-show.utf16.json", "module-identity-list.json", "module-twin-show.json",
		"configuration-list.json", "hub-show.json", "certificate-list.json", "consumer-group-list.json", "enrollment-list.json", "enrollment-group-list.json", "dps-show.json",
		"dps-certificate-list.json", "state.json", "template.json")
	got := j.Report().Markdown()
	page := "testdata/plant.md"
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the page is out of date (go test ./hub/parity -run Plant -update):\n%s", got)
	}
	if again := j.Report().Markdown(); again != got {
		t.Error("a report that is made twice is another one")
	}
	b, err := json.Marshal(j.Report())
	if err != nil || strings.Contains(string(b), "eHh4") || strings.Contains(got, "eHh4") { // how keys of the samples go on
		t.Errorf("a key is in the report, %v", err)
	}
}

func TestEveryRowThatIsNamedExists(t *testing.T) {
	page, err := os.ReadFile("../../docs/azure-divergences.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(page), "\n## ")[1:] {
		title, rows, _ := strings.Cut(s, "\n")
		sections[title] = rows
	}
	for i, f := range parity.Catalogue() {
		if f.What == "" || f.Topic == "" || f.Verdict == "" {
			t.Errorf("rule %d says nothing: %+v", i, f)
		}
		if f.Verdict != parity.Same && f.Verdict != parity.Refused && f.Next == "" && f.Row == nil {
			t.Errorf("%q tells neither what to do nor where to read", f.What)
		}
		if r := f.Row; r != nil && !strings.Contains(sections[r.Section], "\n| "+r.Begins) {
			t.Errorf("docs/azure-divergences.md has no row %q in %q", r.Begins, r.Section)
		}
	}
}

func TestSeveralFilesMakeOnePicture(t *testing.T) {
	for _, order := range [][]string{
		{"device-twin-list.json", "device-identity-show.json", "device-identity-show.utf16.json"},
		{"device-identity-show.utf16.json", "device-identity-show.json", "device-twin-list.json"},
	} {
		j := parity.New()
		see(t, j, order...)
		got := brief(j.Report())
		for _, want := range []string{"same 5 devices", "same 1 of them edge devices", "same 1 of them behind", "different 2 devices and modules whose keys", "| mixer-2; gateway-hall5\n", "same 3 twins with tags"} {
			if !strings.Contains(got, want) {
				t.Errorf("%v: no %q in\n%s", order, want, got)
			}
		}
	}
	j := parity.New()
	see(t, j, "hub-show.json")
	once := brief(j.Report())
	see(t, j, "template.json", "hub-show.json")
	if n := strings.Count(brief(j.Report()), "routes |"); n != 1 || !strings.Contains(once, "same 4 routes") || !strings.Contains(brief(j.Report()), "same 4 routes") {
		t.Errorf("a hub that is shown three times counts more than once:\n%s", brief(j.Report()))
	}
	if !j.Knows("nobody") == false || j.Knows("pump-1") {
		t.Error("it knows what it has not seen")
	}
	seeText(t, j, `{"deviceId":"a","tags":{"x":1}}`+"\n"+`{"id":"b","status":"enabled"}`)
	if got := brief(j.Report()); !strings.Contains(got, "different 1 twins of identities that are not in the files | a\n") || !j.Knows("b") || j.Knows("a") {
		t.Errorf("%s", got)
	}
}

func TestEventHubsBesideAHub(t *testing.T) {
	j := parity.New()
	seeText(t, j, `{"$schema":"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#","contentVersion":"1.0.0.0","resources":[
{"type":"Microsoft.EventHub/namespaces","apiVersion":"2024-01-01","name":"lake","properties":{}},
{"type":"Microsoft.EventHub/namespaces/eventhubs","apiVersion":"2024-01-01","name":"lake/telemetry","properties":{"partitionCount":8}},
{"type":"Microsoft.Storage/storageAccounts","apiVersion":"2023-01-01","name":"files","properties":{}}]}`)
	got := brief(j.Report())
	for _, want := range []string{"different 2 resources of Event Hubs, which are no part of | resources of type Microsoft.EventHub/namespaces; resources of type Microsoft.EventHub/namespaces/eventhubs\n", "missing 1 things that are nothing to import | resources of type Microsoft.Storage/storageAccounts\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestWhatIsRefusedAndWhy(t *testing.T) {
	key := `"authentication":{"type":"sas","symmetricKey":{"primaryKey":"c2hvcnQ=","secondaryKey":"c2hvcnQ="}}`
	j := parity.New()
	seeText(t, j, `{"id":"not an id","status":"enabled"}
{"id":"short",`+key+`}
{"id":"deep","tags":{"a.b":1}}
{"id":"large","tags":{"a":"`+strings.Repeat("x", 4000)+`","b":"`+strings.Repeat("x", 4000)+`","c":"`+strings.Repeat("x", 4000)+`"}}
{"id":"conf","content":{"deviceContent":{"tags.x":1}},"targetCondition":"*"}
{"id":"conf2","content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":"this is no condition"}
{"registrationId":"r","attestation":{"type":"tpm","tpm":{"endorsementKey":"x"}}}
{"enrollmentGroupId":"g","attestation":{"type":"symmetricKey"},"allocationPolicy":"static"}
nonsense
{"type":"Microsoft.Devices/IotHubs","name":"h","properties":{"cloudToDevice":{"defaultTtlAsIso8601":"an hour","maxDeliveryCount":500},"routing":{"endpoints":{"eventHubs":[{"name":"events"},{"name":"ok"},{"name":"ok"}]},"routes":[{"name":"a","source":"DeviceMessages","condition":"((","endpointNames":["ok"]},{"name":"b","source":"DeviceMessages","condition":"true","endpointNames":["nowhere"]}],"enrichments":[{"key":"$x","value":"1","endpointNames":["ok"]}]}}}`)
	got := brief(j.Report())
	for _, want := range []string{
		`refused 2 devices and modules | not an id: the device id "not an id" holds ' '; short: a key of device "short" is not base64 of 16 to 64 bytes`,
		"refused 2 twins, and so their identities | deep: ", "refused 2 configurations and deployments | conf: ", "refused 2 enrollments and groups | r: ", "refused 1 things that cannot be read | line 9: ",
		"refused 3 routes and enrichments | a: ", "refused 2 endpoints, and so the routes to them | events: ", "refused 2 settings | defaultTtlAsIso8601: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "c2hvcnQ") {
		t.Error("a key is in the report")
	}
	seeText(t, j, `{"devices":`)
	if r := j.Report(); !strings.Contains(r.Files[1].Error, "ends in the middle") {
		t.Errorf("%+v", r.Files)
	}
}

func TestWhatAHubBecomes(t *testing.T) {
	f, err := os.Open(filepath.Join(samples, "hub-show.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s parity.Settings
	if err := azureexport.Read(f, func(_ azureexport.At, thing azureexport.Thing) error {
		s = parity.SettingsOf(thing.(*azureexport.Hub))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	whole := func(n int64) *int64 { return &n }
	number := func(n int) *int { return &n }
	on := true
	for name, pair := range map[string][2]any{
		"endpoints": {s.Endpoints, []hubclient.Endpoint{
			{Name: "archive", Kind: "storage", Bucket: "archive", BatchSeconds: 300, BatchBytes: 64 << 20}, {Name: "alarms", Kind: "stream"}, {Name: "work-orders", Kind: "stream"}, {Name: "history", Kind: "stream"},
		}},
		"enrichments": {s.Enrichments, []hubclient.Enrichment{{Key: "hall", Value: "$twin.tags.hall", Endpoints: []string{"alarms", "events"}}}},
		"fallback":    {s.Fallback, &on},
		"commands": {s.Commands, hubclient.CommandSettings{
			DefaultTTLSeconds: whole(7200), MaxDeliveryCount: number(15), FeedbackTTLSeconds: whole(108_000), FeedbackLockSeconds: whole(60), FeedbackDeliveries: number(20),
		}},
		"files": {s.Files, hubclient.FileSettings{Notifications: &on, GrantSeconds: number(7200), NotificationTTLSeconds: number(3600), LockSeconds: number(30), MaxDeliveries: number(10)}},
	} {
		got, err1 := json.Marshal(pair[0])
		want, err2 := json.Marshal(pair[1])
		if err1 != nil || err2 != nil || string(got) != string(want) {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
	if len(s.Routes) != 4 || s.Routes[1].Condition != "$body.temperature > 90 AND $twin.tags.hall = 3" || s.Routes[3].Enabled {
		t.Errorf("routes %+v", s.Routes)
	}
}

// TestAMillionNamesFit: what stays of an identity is a few bytes.
func TestManyNamesTakeLittleMemory(t *testing.T) {
	const n = 100_000
	j := parity.New()
	j.Begin("devices.txt")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	thing := &azureexport.Identity{Shape: azureexport.ExportLine}
	for i := range n {
		thing.ID = fmt.Sprintf("sensor-with-a-rather-long-name-%07d", i)
		j.See(azureexport.At{Line: i}, thing)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if r := j.Report(); r.Findings[0].Count != n {
		t.Errorf("%d counted", r.Findings[0].Count)
	}
	if each := (after.HeapAlloc - before.HeapAlloc) / n; each > 50 {
		t.Errorf("%d bytes an identity", each)
	}
}

func BenchmarkSee(b *testing.B) {
	b.ReportAllocs()
	j := parity.New()
	j.Begin("devices.txt")
	var things []azureexport.Thing
	f, err := os.Open(filepath.Join(samples, "devices.txt"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := azureexport.Read(f, func(_ azureexport.At, t azureexport.Thing) error { things = append(things, t); return nil }); err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		j.See(azureexport.At{}, things[i%len(things)])
	}
}
