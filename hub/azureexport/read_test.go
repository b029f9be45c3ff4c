package azureexport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/azureexport"
)

// told is what a thing is, in a few words.
func told(at azureexport.At, t azureexport.Thing) string {
	switch t := t.(type) {
	case *azureexport.Identity:
		s := fmt.Sprintf("%s %s", at, t.Name())
		for _, w := range []struct {
			is   bool
			word string
		}{
			{t.HasProof(), "proof"}, {t.ByKey(), "key"}, {t.HasTwin, "twin"}, {t.TwinOnly, "twin-only"}, {t.Status == "disabled", "disabled"},
			{t.Capabilities != nil && t.Capabilities.IoTEdge, "edge"}, {t.DeviceScope != "", "in " + t.DeviceScope}, {t.Parent != "", "behind " + t.Parent}, {t.Model != "", t.Model},
		} {
			if w.is {
				s += " " + w.word
			}
		}
		return s
	case *azureexport.Configuration:
		kind := "device"
		if t.Content.Module != nil {
			kind = "module"
		} else if t.Content.Modules != nil {
			kind = "edge"
		}
		return fmt.Sprintf("%s %s configuration %s for %s, priority %d, %d metrics", at, kind, t.ID, t.Target, t.Priority, len(t.Metrics.Queries))
	case *azureexport.Enrollment:
		return fmt.Sprintf("%s enrollment %s group=%v %s keys=%v proof=%v", at, t.ID, t.Group, t.Attestation, t.HasKeys, t.HasProof)
	case *azureexport.Hub:
		p := t.Properties
		if p.Routing == nil || p.CloudToDevice == nil {
			return fmt.Sprintf("%s hub %s", at, t.Name)
		}
		return fmt.Sprintf("%s hub %s %s×%d: %d routes, %d enrichments, ttl %s, keeps %d days", at, t.Name, t.SKU.Name, t.SKU.Capacity, len(p.Routing.Routes), len(p.Routing.Enrichments),
			p.CloudToDevice.DefaultTTL, p.EventHubEndpoints["events"].Days)
	case *azureexport.Service:
		return fmt.Sprintf("%s provisioning service %s %s, %d hubs", at, t.Name, t.Properties.IDScope, len(t.Properties.Hubs))
	case *azureexport.Authority:
		_, err := t.PEM()
		return fmt.Sprintf("%s authority %s provisioning=%v verified=%v here=%v", at, t.Name, t.Provisioning, t.Verified, err == nil)
	case *azureexport.ConsumerGroup:
		return fmt.Sprintf("%s group %s of %s", at, t.Name, t.Endpoint)
	case *azureexport.Other:
		return fmt.Sprintf("%s other: %s", at, t.What)
	case *azureexport.Wrong:
		return fmt.Sprintf("%s wrong: %v", at, t.Err)
	}
	return "?"
}

func read(r io.Reader) (string, error) {
	var b strings.Builder
	err := azureexport.Read(r, func(at azureexport.At, t azureexport.Thing) error {
		b.WriteString(told(at, t) + "\n")
		return nil
	})
	return b.String(), err
}

const scope3, scope5 = "ms-azure-iot-edge://gateway-hall3-638211204000000000", "ms-azure-iot-edge://gateway-hall5-638300000000000000"

func TestWhatPeopleExport(t *testing.T) {
	for file, want := range map[string]string{
		"devices.txt": `
line 1 pump-1 proof key twin in ` + scope3 + `
line 2 pump-2 proof key twin disabled
line 3 camera-7 proof twin
line 4 press-4 proof twin
line 5 gateway-hall3 proof key twin edge in ` + scope3 + `
line 6 gateway-hall3/$edgeAgent proof twin
line 7 gateway-hall3/$edgeHub proof twin
line 8 gateway-hall3/filter proof key twin`,
		"device-twin-list.json": `
[0] mixer-1 key twin dtmi:com:contoso:mixer;2
[1] mixer-2 key twin disabled
[2] scale-1 proof twin
[3] gateway-hall5 key twin edge in ` + scope5 + `
[4] valve-9 key twin in ` + scope5,
		"device-identity-show.json":       "the file mixer-1 proof key",
		"device-identity-show.utf16.json": "the file valve-9 proof key in " + scope5,
		"module-identity-list.json": `
[0] gateway-hall5/$edgeAgent proof
[1] gateway-hall5/$edgeHub proof
[2] gateway-hall5/opcua proof key`,
		"module-twin-show.json": "the file gateway-hall5/opcua key twin",
		"configuration-list.json": `
[0] device configuration interval-hall3 for tags.hall = 3, priority 10, 1 metrics
[1] module configuration filter-threshold for FROM devices.modules WHERE moduleId = 'filter', priority 5, 0 metrics
[2] edge configuration hall3-base for tags.hall = 3, priority 1, 0 metrics`,
		"hub-show.json": "contoso-plant hub contoso-plant S1×2: 5 routes, 1 enrichments, ttl PT2H, keeps 3 days",
		"certificate-list.json": `
value[0].plant-ca authority plant-ca provisioning=false verified=true here=true
value[1].old-ca authority old-ca provisioning=false verified=false here=false`,
		"dps-certificate-list.json": "value[0].plant-ca authority plant-ca provisioning=true verified=true here=true",
		"consumer-group-list.json": `
[0].$Default group $Default of events
[1].dashboard group dashboard of events`,
		"enrollment-list.json": `
[0] enrollment press-5 group=false symmetricKey keys=false proof=false
[1] enrollment press-9 group=false x509 keys=false proof=false
[2] enrollment press-6 group=false symmetricKey keys=true proof=false`,
		"enrollment-group-list.json": `
[0] enrollment hall-4 group=true symmetricKey keys=true proof=false
[1] enrollment presses group=true x509 keys=false proof=true
[2] enrollment moved group=true symmetricKey keys=true proof=false`,
		"dps-show.json": "contoso-dps provisioning service contoso-dps 0ne00A1B2C3, 1 hubs",
		"template.json": `
contoso-plant hub contoso-plant S1×2: 5 routes, 1 enrichments, ttl PT2H, keeps 3 days
contoso-plant/plant-ca authority plant-ca provisioning=false verified=true here=true
contoso-plant/events/dashboard group dashboard of events
contosoplant other: resources of type Microsoft.Storage/storageAccounts`,
		"state.json": `
arm.contoso-plant hub contoso-plant S1×2: 5 routes, 1 enrichments, ttl PT2H, keeps 3 days
arm.contoso-plant/plant-ca authority plant-ca provisioning=false verified=true here=true
configurations.admConfigurations.interval-hall3 device configuration interval-hall3 for tags.hall = 3, priority 10, 1 metrics
configurations.admConfigurations.filter-threshold module configuration filter-threshold for FROM devices.modules WHERE moduleId = 'filter', priority 5, 0 metrics
configurations.edgeDeployments.hall3-base edge configuration hall3-base for tags.hall = 3, priority 1, 0 metrics
devices.robot-1 robot-1 proof key twin behind gateway-hall6
devices.robot-2 robot-2 proof twin
devices.gateway-cell gateway-cell proof key twin edge behind gateway-hall6
devices.gateway-cell.modules.$edgeAgent gateway-cell/$edgeAgent proof twin
devices.gateway-cell.modules.$edgeHub gateway-cell/$edgeHub proof twin
devices.gateway-hall6 gateway-hall6 proof key twin edge
devices.gateway-hall6.modules.$edgeAgent gateway-hall6/$edgeAgent proof twin
devices.gateway-hall6.modules.$edgeHub gateway-hall6/$edgeHub proof twin
devices.gateway-hall6.modules.vision gateway-hall6/vision proof key twin`,
	} {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(bytes.NewReader(b))
		if err != nil || strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", file, err, got, strings.TrimSpace(want))
		}
		if strings.HasSuffix(file, ".json") && !bytes.HasPrefix(b, []byte("\xff\xfe")) { // the same, written otherwise
			for name, other := range map[string][]byte{"UTF-16 BE": inUTF16(string(b)), "with a mark": append([]byte("\xef\xbb\xbf"), b...)} {
				if again, err := read(bytes.NewReader(other)); err != nil || again != got {
					t.Errorf("%s in %s: %v\n%s", file, name, err, again)
				}
			}
		}
	}
}

func inUTF16(s string) []byte {
	out := []byte{0xFE, 0xFF}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u>>8), byte(u))
	}
	return out
}

func TestEveryFileIsRead(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
}

func TestOtherShapes(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"devices":{},"configurations":{"admConfigurations":{},"edgeDeployments":{}}}`, ""},
		{`[]`, ""},
		{`{"value":[],"nextLink":null}`, ""},
		{`{"deviceId":"d","tags":{"a":1}}`, "line 1 d key twin twin-only"}, // of a query
		{"{\"deviceId\":\"a\",\"status\":\"enabled\",\"tags\":{}}\n\n{\"deviceId\":\"b\",\"authenticationType\":\"sas\"}", "line 1 a key twin\nline 3 b key"},
		{`{"id":"d"}`, "line 1 other: something with an id and nothing else"},
		{`{"id":"d","status":"disabled"}`, "line 1 d key disabled"},
		{"{\n\"id\":\"d\",\"status\":\"disabled\"}\n{\"id\":\"e\",\"status\":\"enabled\"}", "the file d key disabled\nthe file e key"},
		{`[1,"a",{"jobId":"x"},{"registrationId":"r","assignedHub":"h"},{"name":"r","endpointNames":["events"]},{}]`,
			"[0] other: JSON that is no object\n[1] other: JSON that is no object\n[2] other: jobs\n[3] other: registrations of devices\n[4] other: routes or enrichments alone: give what az iot hub show prints\n[5] other: something that is not recognised"},
		{`{"id":"leaf","status":"enabled","parentScopes":["ms-azure-iot-edge://g-1"]}`, "line 1 leaf key in ms-azure-iot-edge://g-1"},
		{`{"modules":{"d":[[{"module_id":"m"},{}]]}}`, "modules.d other: modules as an old version of the extension wrote them"},
		{`{"devices":{"d":{"deviceId":"d","authenticationType":"sas","symmetricKey":{"primaryKey":"k","secondaryKey":"l"},"tags":{}}}}`, "devices.d d proof key twin"},
		{`{"deviceId":"d","configurations":{"c":{"status":"Applied"}},"authenticationType":"sas"}`, "line 1 d key"},
		{"{\n\"deviceId\":\"d\",\"configurations\":{\"c\":{\"status\":\"Applied\"}},\"authenticationType\":\"sas\"}", "the file d key"},
		{"\n{\"id\":\"a\",\"status\":\"enabled\"}\nnonsense\n{\"id\":\"b\",\"status\":7}\n{\"id\":\"c\",\"status\":\"enabled\"}", ""},
	} {
		got, err := read(strings.NewReader(c.in))
		if c.want == "" && c.in[0] == '\n' { // a first line that is empty makes it no list of lines; the document before the nonsense is read
			if err == nil || !strings.Contains(got, "the file a key") {
				t.Errorf("%s: %v\n%s", c.in, err, got)
			}
			continue
		}
		if err != nil || strings.TrimSpace(got) != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.in, err, got, c.want)
		}
	}
}

func TestABadLineKeepsNoOtherOut(t *testing.T) {
	long := `{"id":"l","tags":{"a":"` + strings.Repeat("x", azureexport.MaxThing) + `"}}`
	got, err := read(strings.NewReader("{\"id\":\"a\",\"status\":\"enabled\"}\nnonsense\n{\"id\":\"b\",\"status\":7}\n{\"id\":\"b\"\n" + long + "\n{\"id\":\"c\",\"status\":\"enabled\"}"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 6 || lines[0] != "line 1 a key" || lines[5] != "line 6 c key" {
		t.Fatalf("%s", got)
	}
	for _, l := range lines[1:5] {
		if !strings.Contains(l, "wrong: ") {
			t.Error(l)
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	whole, err := os.ReadFile("testdata/state.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, in string
		kind     fault.Kind
	}{
		{"empty", "", fault.Invalid},
		{"blank", " \n\n ", fault.Invalid},
		{"no JSON", "DeviceId  Status\nsensor-1  enabled\n", fault.Invalid},
		{"cut off", string(whole[:len(whole)/2]), fault.Invalid},
		{"more behind", `{"devices":{}}}`, fault.Invalid},
		{"one thing without an end", `[{"id":"` + strings.Repeat("x", 3*azureexport.MaxThing), fault.TooLarge},
	} {
		_, err := read(strings.NewReader(c.in))
		if fault.KindOf(err) != c.kind || fault.Message(err) == "" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	stop := errors.New("enough")
	n := 0
	if err := azureexport.Read(bytes.NewReader(whole), func(azureexport.At, azureexport.Thing) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("went on after an error: %v, %d", err, n)
	}
}

// repeated is a file of so many devices, made while it is read.
type repeated struct {
	n, at   int
	format  string
	between string
	rest    []byte
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.at == r.n {
			return 0, io.EOF
		}
		r.rest = fmt.Appendf(r.rest, r.format+r.between, r.at)
		if r.at++; r.at == r.n {
			r.rest = r.rest[:len(r.rest)-len(r.between)]
		}
	}
	k := copy(p, r.rest)
	r.rest = r.rest[k:]
	return k, nil
}

const oneLine = `{"id":"sensor-%07d","eTag":"MTIz","status":"enabled","authentication":{"symmetricKey":{"primaryKey":"MTExMTExMTExMTExMTExMTExMTExMTE=","secondaryKey":"MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="},"type":"sas"},"tags":{"hall":3,"line":"filling"},"properties":{"desired":{"interval":10,"$version":4},"reported":{"firmware":"2.4.1","$version":19}},"capabilities":{"iotEdge":false}}`

// TestLargeFilesTakeLittleMemory reads far more than may stay.
func TestLargeFilesTakeLittleMemory(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"lines": &repeated{n: 40_000, format: oneLine, between: "\n"},
		"list":  io.MultiReader(strings.NewReader("["), &repeated{n: 40_000, format: oneLine, between: ",\n"}, strings.NewReader("]")),
		"state": io.MultiReader(strings.NewReader(`{"devices":{`), &repeated{n: 40_000, format: `"sensor-%07d":{"identity":{"status":"enabled"},"twin":{"tags":{"a":"` + strings.Repeat("x", 300) + `"}}}`, between: ",\n"},
			strings.NewReader("}}")),
	} {
		n, most := 0, uint64(0)
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		before := m.HeapAlloc
		if err := azureexport.Read(r, func(_ azureexport.At, thing azureexport.Thing) error {
			if _, ok := thing.(*azureexport.Identity); !ok {
				t.Fatalf("%s: %#v", name, thing)
			}
			if n++; n%10_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
			return nil
		}); err != nil || n != 40_000 {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
		if most > before && most-before > 4<<20 {
			t.Errorf("%s: %d bytes stay", name, most-before)
		}
	}
}

func BenchmarkReadLines(b *testing.B) {
	b.ReportAllocs()
	r := &repeated{n: b.N, format: oneLine, between: "\n"}
	b.SetBytes(int64(len(oneLine)))
	if err := azureexport.Read(r, func(azureexport.At, azureexport.Thing) error { return nil }); err != nil {
		b.Fatal(err)
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{"", "{", "[[[[", `{"devices":[]}`, `{"devices":{"a":1}}`, "\xff\xfe{\x00", "\xfe\xff\xd8\x00", `{"arm":{"resources":[{"type":"Microsoft.Devices/IotHubs","resources":[{}]}]}}`, "{}\n{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		things := 0
		err := azureexport.Read(bytes.NewReader(b), func(at azureexport.At, thing azureexport.Thing) error {
			if told(at, thing) == "?" {
				t.Errorf("%T", thing)
			}
			if things++; things > len(b) {
				t.Fatal("more things than bytes")
			}
			return nil
		})
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v", err)
		}
	})
}
