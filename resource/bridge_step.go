package resource

import (
	"encoding/hex"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// OnError says what becomes of an event that a step cannot deal with.
type OnError string

const (
	ErrorDeadLetter OnError = "DeadLetter" // also the meaning of an absent value
	ErrorWait       OnError = "Wait"       // try again until it can: nothing behind it is sent meanwhile
)

// BridgeStep is one thing done with events: exactly one of mapping, filter, http, wasm and window.
type BridgeStep struct {
	Name string `json:"name" doc:"unique in the bridge: the status and dead letters speak of it" example:"to-celsius"`

	Mapping string        `json:"mapping,omitempty" doc:"Bloblang: what becomes of each event; deleted() leaves it out, an array becomes several"`
	Filter  string        `json:"filter,omitempty" doc:"Bloblang: events for which this is false are left out"`
	HTTP    *HTTPFunction `json:"http,omitempty" doc:"a service of one's own that is given batches and answers with what becomes of them"`
	WASM    *WASMFunction `json:"wasm,omitempty" doc:"a WebAssembly module"`
	Window  *Window       `json:"window,omitempty" doc:"aggregates over windows of time; at most one, and what follows it sees its rows"`

	OnError OnError `json:"onError,omitempty" enum:"DeadLetter,Wait" doc:"what becomes of an event that the step refuses; a function that is away is always waited for"`
}

// HTTPFunction is code behind a private endpoint of its own. It is sent a JSON array of events and answers with an array of arrays: what
// becomes of each of them.
type HTTPFunction struct {
	Endpoint       string            `json:"endpoint" doc:"the private endpoint of the same network that leads to it" example:"enrich"`
	Path           string            `json:"path" doc:"with its query" example:"/api/enrich"`
	Plain          bool              `json:"plain,omitempty" doc:"http, not https"`
	Secret         string            `json:"secret,omitempty" doc:"the name of a file of the agent, whose content is sent as Authorization; a token of the bridge's identity when absent"`
	Headers        map[string]string `json:"headers,omitempty" doc:"no secrets"`
	TimeoutSeconds int               `json:"timeoutSeconds,omitempty" minimum:"0" maximum:"300" doc:"of one attempt; 10 when absent"`
	Attempts       int               `json:"attempts,omitempty" minimum:"0" maximum:"100" doc:"at a batch it answers with 500 or not in time, before its events are tried one by one; 5 when absent. 502, 503 and 504 say that it is away"`
	BatchEvents    int               `json:"batchEvents,omitempty" minimum:"0" maximum:"1000" doc:"at most so many events a request; 100 when absent"`
}

// WASMFunction is a module that runs inside the bridge and can reach nothing but its own memory.
type WASMFunction struct {
	Module        string `json:"module" doc:"the name of a file in the folder modules of the agent's data directory" example:"enrich.wasm"`
	SHA256        string `json:"sha256" doc:"of the file, in hexadecimal: nothing else is run"`
	MemoryMiB     int    `json:"memoryMiB,omitempty" minimum:"0" maximum:"1024" doc:"what it may have; 64 when absent"`
	TimeoutMillis int    `json:"timeoutMillis,omitempty" minimum:"0" maximum:"60000" doc:"for one batch; 1000 when absent"`
	BatchEvents   int    `json:"batchEvents,omitempty" minimum:"0" maximum:"1000" doc:"at most so many events a call; 100 when absent"`
}

// ReferenceTable is rows that events are joined with, by a key.
type ReferenceTable struct {
	Name           string         `json:"name" doc:"as windows call it" example:"machines"`
	File           string         `json:"file,omitempty" doc:"the name of a file in the folder references of the agent's data directory"`
	Blob           *ReferenceBlob `json:"blob,omitempty" doc:"instead: a blob"`
	Format         FileFormat     `json:"format,omitempty" enum:"json,csv" doc:"JSON lines, or csv with a header line; by the name's end when absent"`
	Key            string         `json:"key" doc:"the column that rows are found by" example:"device"`
	RefreshSeconds int            `json:"refreshSeconds,omitempty" minimum:"0" maximum:"86400" doc:"how often it is read anew; 60 when absent. While it cannot be read, the rows read last hold"`
}

// ReferenceBlob is a blob behind a private endpoint.
type ReferenceBlob struct {
	Endpoint  string `json:"endpoint" doc:"the private endpoint of the same network that leads to the blob service" example:"lake"`
	Container string `json:"container" doc:"its container"`
	Name      string `json:"name" doc:"the blob" example:"machines.csv"`
	Secret    string `json:"secret,omitempty" doc:"the name of a file of the agent with a connection string; the bridge's own identity when absent"`
}

func (s *BridgeSpec) validateSteps(op string) error {
	bad := func(format string, args ...any) *fault.Error { return fault.Newf(op, fault.Invalid, format, args...) }
	if len(s.Steps) > MaxBridgeSteps {
		return bad("spec.steps has %d entries", len(s.Steps)).Advise("keep it to %d: a mapping can do several things", MaxBridgeSteps)
	}
	seen := map[string]bool{"source": true, "contract": true, "destination": true}
	windows := 0
	for i := range s.Steps {
		t := &s.Steps[i]
		if !stepName.MatchString(t.Name) || seen[t.Name] {
			return bad("step %d is called %.60q, which cannot be or is there twice", i+1, t.Name).
				Advise("use a-z, 0-9 and -; source, contract and destination are taken")
		}
		seen[t.Name] = true
		forms := 0
		for _, there := range []bool{t.Mapping != "", t.Filter != "", t.HTTP != nil, t.WASM != nil, t.Window != nil} {
			if there {
				forms++
			}
		}
		if forms != 1 {
			return bad("step %s does %d things", t.Name, forms).Advise("give exactly one of mapping, filter, http, wasm and window")
		}
		if t.OnError != "" && t.OnError != ErrorDeadLetter && t.OnError != ErrorWait {
			return bad("step %s: onError is %.20q", t.Name, t.OnError).Advise("use DeadLetter or Wait")
		}
		var err error
		switch {
		case t.HTTP != nil:
			err = t.HTTP.validate(op, t.Name)
		case t.WASM != nil:
			err = t.WASM.validate(op, t.Name)
		case t.Window != nil:
			windows++
			if t.OnError == ErrorWait {
				return bad("step %s: a window cannot wait for an event", t.Name).Advise("take onError out: what has no time or no row to join with is dead-lettered, and late says what becomes of late events")
			}
			err = t.Window.validate(op, t.Name, s.References)
		default:
			err = checkBloblang(op, "step "+t.Name, t.Mapping+t.Filter, true)
		}
		if err != nil {
			return err
		}
	}
	if windows > 1 {
		return bad("spec.steps has %d windows", windows).Advise("one bridge has one window: read its rows with another bridge for more")
	}
	return nil
}

func (h *HTTPFunction) validate(op, step string) error {
	if err := ValidateName(h.Endpoint); err != nil {
		return within(op, "step "+step+".http.endpoint", err)
	}
	switch {
	case !strings.HasPrefix(h.Path, "/"):
		return fault.Newf(op, fault.Invalid, "step %s: path is %.60q", step, h.Path).Advise("begin it with /; the host is the service's")
	case h.TimeoutSeconds < 0 || h.TimeoutSeconds > 300 || h.Attempts < 0 || h.Attempts > 100 || h.BatchEvents < 0 || h.BatchEvents > 1000:
		return fault.Newf(op, fault.Invalid, "step %s has a bound that cannot be", step).Advise("timeoutSeconds is 0 to 300, attempts 0 to 100, batchEvents 0 to 1000")
	}
	if err := validateSecret(op, "step "+step+".http.secret", h.Secret); err != nil {
		return err
	}
	return checkHeaders(op, "step "+step+".http.headers", h.Headers)
}

func (w *WASMFunction) validate(op, step string) error {
	if err := validateSecret(op, "step "+step+".wasm.module", w.Module); err != nil || w.Module == "" {
		return fault.Newf(op, fault.Invalid, "step %s: module is %.40q", step, w.Module).Advise("give the name of a file in the folder modules of the agent's data directory")
	}
	if sum, err := hex.DecodeString(w.SHA256); err != nil || len(sum) != 32 {
		return fault.Newf(op, fault.Invalid, "step %s: sha256 is no SHA-256 in hexadecimal", step).Advise("print it with: sha256sum %s", w.Module)
	}
	if w.MemoryMiB < 0 || w.MemoryMiB > 1024 || w.TimeoutMillis < 0 || w.TimeoutMillis > 60_000 || w.BatchEvents < 0 || w.BatchEvents > 1000 {
		return fault.Newf(op, fault.Invalid, "step %s has a bound that cannot be", step).Advise("memoryMiB is 0 to 1024, timeoutMillis 0 to 60000, batchEvents 0 to 1000")
	}
	return nil
}

func (s *BridgeSpec) validateReferences(op string) error {
	if len(s.References) > MaxReferences {
		return fault.Newf(op, fault.Invalid, "spec.references has %d entries", len(s.References)).Advise("keep it to %d", MaxReferences)
	}
	seen := map[string]bool{}
	for _, r := range s.References {
		switch {
		case !columnName.MatchString(r.Name) || seen[r.Name]:
			return fault.Newf(op, fault.Invalid, "spec.references: %.60q cannot be a table's name, or is there twice", r.Name).Advise("use letters, digits and _")
		case (r.File == "") == (r.Blob == nil):
			return fault.Newf(op, fault.Invalid, "table %s needs a file or a blob, and not both", r.Name)
		case r.Key == "":
			return fault.Newf(op, fault.Invalid, "table %s has no key", r.Name).Advise("name the column that its rows are found by")
		case r.Format != "" && r.Format != FormatJSON && r.Format != FormatCSV:
			return fault.Newf(op, fault.Invalid, "table %s: format is %.20q", r.Name, r.Format).Advise("use json or csv")
		case r.RefreshSeconds < 0 || r.RefreshSeconds > 86_400:
			return fault.Newf(op, fault.Invalid, "table %s: refreshSeconds is %d", r.Name, r.RefreshSeconds).Advise("use 0 to 86400")
		}
		seen[r.Name] = true
		if err := validateSecret(op, "table "+r.Name+".file", r.File); err != nil {
			return err
		}
		if r.Blob != nil {
			if err := ValidateName(r.Blob.Endpoint); err != nil {
				return within(op, "table "+r.Name+".blob.endpoint", err)
			}
			if r.Blob.Container == "" || r.Blob.Name == "" {
				return fault.Newf(op, fault.Invalid, "table %s: blob has no container or no name", r.Name)
			}
			if err := validateSecret(op, "table "+r.Name+".blob.secret", r.Blob.Secret); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *BridgeSpec) validateTests(op string) error {
	if len(s.Tests) > MaxBridgeTests {
		return fault.Newf(op, fault.Invalid, "spec.tests has %d entries", len(s.Tests)).Advise("keep it to %d", MaxBridgeTests)
	}
	seen := map[string]bool{}
	for _, t := range s.Tests {
		if t.Name == "" || len(t.Name) > 100 || seen[t.Name] {
			return fault.Newf(op, fault.Invalid, "spec.tests: %.60q cannot be a test's name, or is there twice", t.Name)
		}
		seen[t.Name] = true
		if len(t.Input) == 0 || len(t.Input) > maxTestEvents {
			return fault.Newf(op, fault.Invalid, "test %s has %d events", t.Name, len(t.Input)).Advise("give 1 to %d", maxTestEvents)
		}
	}
	return nil
}
