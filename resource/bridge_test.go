package resource_test

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func aBridge() *resource.Bridge {
	o, _ := resource.New(resource.KindBridge)
	b := o.(*resource.Bridge)
	b.Metadata = resource.Meta{Tenant: "ot", Network: "cloud", Name: "telemetry"}
	b.Spec = resource.BridgeSpec{
		Source: resource.BridgeSource{Endpoint: "hub"},
		Steps: []resource.BridgeStep{
			{Name: "filter", Filter: "true"},
			{Name: "http", HTTP: &resource.HTTPFunction{Endpoint: "enrich", Path: "/"}},
			{Name: "wasm", WASM: &resource.WASMFunction{Module: "m.wasm", SHA256: strings.Repeat("0a", 32)}},
			{Name: "window", Window: &resource.Window{SizeSeconds: 10, Aggregates: []resource.Aggregate{{Name: "n", Function: resource.AggregateCount}}}},
		},
		References:  []resource.ReferenceTable{{Name: "machines", File: "machines.csv", Key: "id"}},
		Destination: resource.BridgeDestination{Endpoint: "lake", Blob: &resource.BlobDestination{Container: "rows", Files: resource.Files{Path: "t/{yyyy}"}}},
		Tests:       []resource.BridgeTest{{Name: "t", Input: []resource.TestEvent{{Body: "x"}}}},
	}
	return b
}

// What cannot be is refused in words that name the field, and say what may stand there.
func TestBridgesThatCannotBe(t *testing.T) {
	if err := aBridge().Validate(); err != nil {
		t.Fatal(err)
	}
	window := func(s *resource.BridgeSpec) *resource.Window { return s.Steps[3].Window }
	to := func(change func(*resource.BridgeDestination)) func(*resource.BridgeSpec) {
		return func(s *resource.BridgeSpec) { s.Destination.Blob = nil; change(&s.Destination) }
	}
	for words, change := range map[string]func(*resource.BridgeSpec){
		"spec.agent":                          func(s *resource.BridgeSpec) { s.Agent = "A B" },
		"spec.contract":                       func(s *resource.BridgeSpec) { s.Contract = "a/b/c/d" },
		"spec.source.endpoint is missing":     func(s *resource.BridgeSpec) { s.Source.Endpoint = "" },
		"spec.source.eventHub":                func(s *resource.BridgeSpec) { s.Source.EventHub = "a b" },
		"spec.source.consumerGroup":           func(s *resource.BridgeSpec) { s.Source.ConsumerGroup = "/" },
		"spec.source.start":                   func(s *resource.BridgeSpec) { s.Source.Start = "yesterday" },
		"spec.source.repeats":                 func(s *resource.BridgeSpec) { s.Source.Repeats = "Twice" },
		"spec.source.secret":                  func(s *resource.BridgeSpec) { s.Source.Secret = "../key" },
		"spec.destination.secret":             func(s *resource.BridgeSpec) { s.Destination.Secret = "Endpoint=sb://x;SharedAccessKey=y" },
		"spec.deadLetters":                    func(s *resource.BridgeSpec) { s.DeadLetters.RetentionHours = 8761 },
		"spec.batch":                          func(s *resource.BridgeSpec) { s.Batch.Events = 10_001 },
		"called \"contract\"":                 func(s *resource.BridgeSpec) { s.Steps[0].Name = "contract" },
		"called \"http\"":                     func(s *resource.BridgeSpec) { s.Steps[0].Name = "http" },
		"step filter does 2 things":           func(s *resource.BridgeSpec) { s.Steps[0].Mapping = "root = this" },
		"onError":                             func(s *resource.BridgeSpec) { s.Steps[0].OnError = "Ignore" },
		"a window cannot wait":                func(s *resource.BridgeSpec) { s.Steps[3].OnError = resource.ErrorWait },
		"2 windows":                           func(s *resource.BridgeSpec) { s.Steps[0] = resource.BridgeStep{Name: "more", Window: window(s)} },
		"step http.http.endpoint":             func(s *resource.BridgeSpec) { s.Steps[1].HTTP.Endpoint = "" },
		"step http: path":                     func(s *resource.BridgeSpec) { s.Steps[1].HTTP.Path = "https://elsewhere/" },
		"step http has a bound":               func(s *resource.BridgeSpec) { s.Steps[1].HTTP.Attempts = 101 },
		"step http.http.headers has Authoriz": func(s *resource.BridgeSpec) { s.Steps[1].HTTP.Headers = map[string]string{"authorization": "x"} },
		"step wasm: module":                   func(s *resource.BridgeSpec) { s.Steps[2].WASM.Module = "../m.wasm" },
		"step wasm: sha256":                   func(s *resource.BridgeSpec) { s.Steps[2].WASM.SHA256 = "abc" },
		"step wasm has a bound":               func(s *resource.BridgeSpec) { s.Steps[2].WASM.MemoryMiB = 1025 },
		"tumbling window has a size":          func(s *resource.BridgeSpec) { window(s).SizeSeconds = 0 },
		"cannot hop by 3 s":                   func(s *resource.BridgeSpec) { window(s).Kind, window(s).HopSeconds = resource.WindowHopping, 3 },
		"a session has a gap":                 func(s *resource.BridgeSpec) { window(s).Kind, window(s).GapSeconds = resource.WindowSession, 10 },
		"late is":                             func(s *resource.BridgeSpec) { window(s).Late = "Wait" },
		"the percentile is 0": func(s *resource.BridgeSpec) {
			window(s).Aggregates[0].Function, window(s).Aggregates[0].Value = "percentile", "this.x"
		},
		"sum needs a value":                     func(s *resource.BridgeSpec) { window(s).Aggregates[0].Function = resource.AggregateSum },
		"windowStart cannot be a group":         func(s *resource.BridgeSpec) { window(s).GroupBy = []resource.Column{{Name: "windowStart"}} },
		"spec.references does not have":         func(s *resource.BridgeSpec) { window(s).Join = []resource.TableJoin{{Table: "others", On: "@device"}} },
		"table machines needs a file or a blob": func(s *resource.BridgeSpec) { s.References[0].File = "" },
		"table machines has no key":             func(s *resource.BridgeSpec) { s.References[0].Key = "" },
		"table machines: refreshSeconds":        func(s *resource.BridgeSpec) { s.References[0].RefreshSeconds = -1 },
		"2 forms":                               func(s *resource.BridgeSpec) { s.Destination.EventHub = &resource.EventHubDestination{Name: "x"} },
		"0 forms":                               to(func(*resource.BridgeDestination) {}),
		"spec.destination.endpoint is missing":  func(s *resource.BridgeSpec) { s.Destination.Endpoint = "" },
		"does not go with disk":                 to(func(d *resource.BridgeDestination) { d.Disk = &resource.DiskDestination{Folder: "/srv"} }),
		"disk.folder": to(func(d *resource.BridgeDestination) {
			d.Endpoint, d.Disk = "", &resource.DiskDestination{Folder: "/srv/../etc"}
		}),
		"a container or a bucket": func(s *resource.BridgeSpec) { s.Destination.Blob.Bucket = "s3://x" },
		"blob.path":               func(s *resource.BridgeSpec) { s.Destination.Blob.Path = "../x" },
		"blob.format":             func(s *resource.BridgeSpec) { s.Destination.Blob.Format = "xml" },
		"kafka.sasl is":           to(func(d *resource.BridgeDestination) { d.Kafka = &resource.KafkaDestination{Topic: "t", SASL: "OAUTH"} }),
		"kafka.sasl needs":        to(func(d *resource.BridgeDestination) { d.Kafka = &resource.KafkaDestination{Topic: "t", SASL: "PLAIN"} }),
		"mqtt.topic":              to(func(d *resource.BridgeDestination) { d.MQTT = &resource.MQTTDestination{Topic: "plant/#"} }),
		"http.method":             to(func(d *resource.BridgeDestination) { d.HTTP = &resource.HTTPDestination{Path: "/", Method: "GET"} }),
		"test t has 0 events":     func(s *resource.BridgeSpec) { s.Tests[0].Input = nil },
	} {
		b := aBridge()
		change(&b.Spec)
		if err := b.Validate(); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

// A contract that contradicts itself is refused before anybody is asked to sign it.
func TestContractsThatContradictThemselves(t *testing.T) {
	number := func(n float64) *float64 { return &n }
	contract := func() *resource.Contract {
		o, _ := resource.New(resource.KindContract)
		c := o.(*resource.Contract)
		c.Metadata = resource.Meta{Tenant: "ot", Name: "telemetry"}
		c.Spec = resource.ContractSpec{With: "it", Purpose: "planning", Messages: []resource.ContractMessage{
			{Name: "a", When: "true", Fields: []resource.ContractField{{Path: "celsius"}, {Path: "sensor"}}},
		}}
		return c
	}
	if err := contract().Validate(); err != nil {
		t.Fatal(err)
	}
	first := func(change func(*resource.ContractField)) func(*resource.ContractSpec) {
		return func(s *resource.ContractSpec) { change(&s.Messages[0].Fields[0]) }
	}
	for words, change := range map[string]func(*resource.ContractSpec){
		"spec.purpose":                 func(s *resource.ContractSpec) { s.Purpose = " " },
		"spec.messages has 0":          func(s *resource.ContractSpec) { s.Messages = nil },
		"number below 0":               func(s *resource.ContractSpec) { s.Limits.EventsPerDay = -1 },
		"lets one event have 11 bytes": func(s *resource.ContractSpec) { s.Limits.MaxEventBytes, s.Limits.BytesPerDay = 11, 10 },
		"wholeBody and fields":         func(s *resource.ContractSpec) { s.Messages[0].WholeBody = true },
		"otherwise is":                 func(s *resource.ContractSpec) { s.Messages[0].Otherwise = "Send" },
		"b can never fit": func(s *resource.ContractSpec) {
			s.Messages[0].When = ""
			s.Messages = append(s.Messages, resource.ContractMessage{Name: "b"})
		},
		"is there twice":              first(func(f *resource.ContractField) { f.Path = "sensor" }),
		"what is dropped cannot be":   first(func(f *resource.ContractField) { f.Drop, f.Hash = true, true }),
		"bounds are of numbers":       first(func(f *resource.ContractField) { f.Min, f.Type = number(1), "text" }),
		"no number is at least 2":     first(func(f *resource.ContractField) { f.Min, f.Max = number(2), number(1) }),
		"oneOf is of texts":           first(func(f *resource.ContractField) { f.OneOf, f.Type = []string{"a"}, "number" }),
		"type is":                     first(func(f *resource.ContractField) { f.Type = "date" }),
		"it becomes sensor":           first(func(f *resource.ContractField) { f.Rename = "sensor" }),
		"it cannot become":            first(func(f *resource.ContractField) { f.Rename = "celsius.*" }),
		"which is inside":             first(func(f *resource.ContractField) { f.Rename = "sensor.x" }),
		"fields: \"a..b\" is no path": first(func(f *resource.ContractField) { f.Path = "a..b" }),
	} {
		c := contract()
		change(&c.Spec)
		if err := c.Validate(); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

func TestRolesAndAccessThatCannotBe(t *testing.T) {
	o, _ := resource.New(resource.KindRoleAssignment)
	r := o.(*resource.RoleAssignment)
	r.Metadata = resource.Meta{Tenant: "it", Network: "cloud", Name: "sends"}
	good := resource.RoleAssignmentSpec{Service: "lake", Role: resource.RoleDataSender, Workload: resource.Workload{Kind: resource.WorkloadBridge, Name: "ot/cloud/telemetry"}}
	if r.Spec = good; r.Validate() != nil {
		t.Fatal(r.Validate())
	}
	for words, change := range map[string]func(*resource.RoleAssignmentSpec){
		"spec.service":       func(s *resource.RoleAssignmentSpec) { s.Service = "" },
		"spec.role":          func(s *resource.RoleAssignmentSpec) { s.Role = "Owner" },
		"spec.scope":         func(s *resource.RoleAssignmentSpec) { s.Scope = strings.Repeat("x", 257) },
		"spec.workload.kind": func(s *resource.RoleAssignmentSpec) { s.Workload.Kind = "Person" },
		"spec.workload.name": func(s *resource.RoleAssignmentSpec) { s.Workload.Name = "telemetry" },
	} {
		r.Spec = good
		change(&r.Spec)
		if err := r.Validate(); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	for words, change := range map[string]func(*resource.ServiceSpec){
		"spec.keyAccess is":                     func(s *resource.ServiceSpec) { s.KeyAccess = "Sometimes" },
		"are for a service that Isthmus serves": func(s *resource.ServiceSpec) { s.ServedBy, s.KeyAccess = "", resource.KeysDisabled },
		"belongs to a service of type":          func(s *resource.ServiceSpec) { s.Containers = []string{"rows"} },
		"spec.trustedWorkloads":                 func(s *resource.ServiceSpec) { s.TrustedWorkloads = []resource.Workload{{Kind: "Person"}} },
	} {
		s := namespace()
		change(&s.Spec)
		if err := s.Validate(); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	for name, ok := range map[string]bool{"rows": true, "$root": true, "a-b": true, "ab": false, "a--b": false, "-ab": false, "Rows": false, strings.Repeat("a", 64): false} {
		if err := resource.ValidateContainer(name); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
