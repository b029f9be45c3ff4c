package resource

import (
	"regexp"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Bridge moves events from a hub or an event hub to somewhere else, in any tenant, and may change them on the way. It reaches every end
// through an approved private endpoint of its own network and through nothing else, is at least once, and in order for each device.
type Bridge struct {
	Header
	Spec   BridgeSpec   `json:"spec"`
	Status BridgeStatus `json:"status,omitzero"`
}

// BridgeSpec is what its owner, the tenant of the source, says.
type BridgeSpec struct {
	Agent       string            `json:"agent,omitempty" doc:"the process of the same network that carries it, a bridge process or an agent; one of the network's bridge processes when absent" example:"bridge-1"`
	Paused      bool              `json:"paused,omitempty" doc:"read nothing; what is not sent stays in the source"`
	Source      BridgeSource      `json:"source" doc:"what is read"`
	Contract    string            `json:"contract,omitempty" doc:"TENANT/NAME of what was agreed about what may cross; required when the destination belongs to another tenant" example:"ot/telemetry"`
	Steps       []BridgeStep      `json:"steps,omitempty" doc:"what is done with the events, in order"`
	References  []ReferenceTable  `json:"references,omitempty" doc:"tables that windows join with"`
	Destination BridgeDestination `json:"destination" doc:"where it is sent"`
	DeadLetters DeadLetters       `json:"deadLetters,omitzero" doc:"how long events that could not be sent are kept, at the source's side"`
	Batch       BatchSize         `json:"batch,omitzero" doc:"how many events are handled together"`
	Tests       []BridgeTest      `json:"tests,omitempty" doc:"what isthmus bridge test tries without any network"`
}

// BridgeSource is what is read.
type BridgeSource struct {
	Endpoint      string `json:"endpoint" doc:"the private endpoint of the same network that leads to the hub or namespace" example:"contoso"`
	EventHub      string `json:"eventHub,omitempty" doc:"the event hub to read; a hub's built-in endpoint when absent"`
	ConsumerGroup string `json:"consumerGroup,omitempty" doc:"$Default when absent; let nobody else read with it" example:"bridge"`
	Start         string `json:"start,omitempty" doc:"where a new bridge begins: earliest (when absent), latest, or a time in RFC 3339"`
	Secret        string `json:"secret,omitempty" doc:"the name of a file of the agent with a connection string; the bridge's own identity when absent"`
	// Repeats says what becomes of events that another bridge has marked as possibly sent before.
	Repeats Repeats `json:"repeats,omitempty" enum:"Drop,Keep" doc:"events that another bridge has sent twice: Drop the second copy (when absent), or Keep it"`
}

// Repeats says what becomes of the second copy of an event that came over another bridge.
type Repeats string

const (
	RepeatsDrop Repeats = "Drop" // also the meaning of an absent value
	RepeatsKeep Repeats = "Keep"
)

// DeadLetters bounds what is kept of events that could not be sent.
type DeadLetters struct {
	RetentionHours int   `json:"retentionHours,omitempty" minimum:"0" maximum:"8760" doc:"720 (30 days) when absent"`
	MaxBytes       int64 `json:"maxBytes,omitempty" minimum:"0" doc:"when so much is kept the bridge waits until some is replayed or deleted; 1 GiB when absent"`
}

// BatchSize bounds what is handled together.
type BatchSize struct {
	Events int `json:"events,omitempty" minimum:"0" maximum:"10000" doc:"at most so many; 1000 when absent"`
	Bytes  int `json:"bytes,omitempty" minimum:"0" maximum:"16777216" doc:"of bodies, at most so many; 1 MiB when absent"`
}

// BridgeTest is events and what is to come of them.
type BridgeTest struct {
	Name   string      `json:"name" doc:"unique in the bridge" example:"celsius"`
	Input  []TestEvent `json:"input" doc:"events as they come from the source"`
	Output []TestEvent `json:"output,omitempty" doc:"what is sent, in this order; nothing when absent"`
	Dead   []TestDead  `json:"dead,omitempty" doc:"what is dead-lettered, in this order"`
}

// TestEvent is an event as a manifest writes it. Of expected ones only what is written down is compared.
type TestEvent struct {
	Body       any               `json:"body,omitempty" doc:"JSON, or a text"`
	Properties map[string]string `json:"properties,omitempty" doc:"the application's"`
	System     map[string]string `json:"system,omitempty" doc:"such as iothub-connection-device-id"`
	Enqueued   time.Time         `json:"enqueued,omitzero" doc:"when it came in"`
}

// TestDead is an event that is expected not to be sent.
type TestDead struct {
	Step   string `json:"step,omitempty" doc:"the name of the step, or contract, or destination"`
	Reason string `json:"reason,omitempty" doc:"a part of the reason"`
}

// BridgeState is what a bridge does.
type BridgeState string

const (
	BridgeRunning BridgeState = "Running"
	BridgeWaiting BridgeState = "Waiting" // for an approval, an agreement, an agent, a destination that is back: Why says for what
	BridgePaused  BridgeState = "Paused"
	BridgeFailed  BridgeState = "Failed" // it cannot go on by itself: Why says what to do
)

// BridgeStatus is what Isthmus says of a bridge.
type BridgeStatus struct {
	State BridgeState `json:"state,omitempty" enum:"Running,Waiting,Paused,Failed" doc:"Waiting goes on by itself once what it waits for is there; Failed does not"`
	Why   string      `json:"why,omitempty" doc:"what it waits for, or why it failed"`
	Step  string      `json:"step,omitempty" doc:"where that is: source, the name of a step, contract, destination"`

	Agent      string    `json:"agent,omitempty" doc:"the process that carries it"`
	Assignment int64     `json:"assignment,omitempty" doc:"rises by one when another process takes it over, which ends the reading of the one before"`
	Identity   string    `json:"identity,omitempty" doc:"the workload identity it proves itself with"`
	ReportedAt time.Time `json:"reportedAt,omitzero" doc:"when the process last told of it"`

	Contract int64 `json:"contract,omitempty" doc:"the version of the contract that is enforced"`

	Partitions    []BridgePartition `json:"partitions,omitempty" doc:"where it stands in each partition of the source"`
	Sent          int64             `json:"sent,omitempty" doc:"events the destination has acknowledged since the bridge was made"`
	Repeated      int64             `json:"repeated,omitempty" doc:"of these, marked as possibly sent before"`
	Dropped       int64             `json:"dropped,omitempty" doc:"second copies from another bridge that were left out"`
	Filtered      int64             `json:"filtered,omitempty" doc:"events that steps have left out"`
	Dead          int64             `json:"dead,omitempty" doc:"events that were dead-lettered"`
	DeadKept      int64             `json:"deadKept,omitempty" doc:"of these, still kept"`
	Lag           int64             `json:"lag" doc:"events of the source that are not sent yet"`
	OldestUnsent  time.Time         `json:"oldestUnsent,omitzero" doc:"when the oldest of these came in"`
	EventsPerSec  float64           `json:"eventsPerSecond" doc:"sent, over the last ten seconds"`
	VolumeToday   int64             `json:"volumeToday,omitempty" doc:"bytes sent today (UTC), as the contract counts them"`
	EventsToday   int64             `json:"eventsToday,omitempty" doc:"events sent today (UTC)"`
	RecentErrors  []BridgeError     `json:"recentErrors,omitempty" doc:"the last of each step"`
	LateEvents    int64             `json:"lateEvents,omitempty" doc:"events that came after their window was closed"`
	OpenWindows   int64             `json:"openWindows,omitempty" doc:"windows and groups that are not closed yet"`
	ClosedWindows int64             `json:"closedWindows,omitempty" doc:"rows that windows have given"`
}

// BridgePartition is where a bridge stands in a partition of its source.
type BridgePartition struct {
	Partition string    `json:"partition" doc:"of the source"`
	Next      int64     `json:"next" doc:"the sequence number of the first event that is not done with"`
	Reserved  int64     `json:"reserved,omitempty" doc:"events below it may have been sent already"`
	End       int64     `json:"end" doc:"the sequence number that the source's next event gets"`
	Oldest    time.Time `json:"oldest,omitzero" doc:"when the event at next came in"`
}

// BridgeError is what went wrong at a step.
type BridgeError struct {
	Step  string    `json:"step" doc:"where it was"`
	Words string    `json:"words" doc:"what it was"`
	At    time.Time `json:"at" doc:"when it was last so"`
	Count int64     `json:"count" doc:"so often since the process began"`
}

// Bounds of a bridge.
const (
	MaxBridgeSteps      = 20
	MaxBridgeTests      = 100
	MaxReferences       = 8
	maxBloblang         = 64 << 10
	maxTestEvents       = 1000
	DefaultDeadHours    = 720
	DefaultDeadBytes    = 1 << 30
	DefaultBatchEvents  = 1000
	DefaultBatchBytes   = 1 << 20
	DefaultFunctionTime = 10 * time.Second
)

var (
	stepName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	columnName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	secretName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$`)
	anyHubName = regexp.MustCompile(`^[A-Za-z0-9$]([A-Za-z0-9._$/-]{0,254}[A-Za-z0-9])?$`)
)

func (b *Bridge) SpecAndStatus() (any, any) { return &b.Spec, &b.Status }

// Validate checks what needs no look elsewhere. Expressions are compiled by whoever runs them.
func (b *Bridge) Validate() error {
	op := "resource.Bridge.Validate"
	if err := b.validate(); err != nil {
		return err
	}
	s := &b.Spec
	if s.Agent != "" {
		if err := ValidateName(s.Agent); err != nil {
			return within(op, "spec.agent", err)
		}
	}
	if s.Contract != "" {
		if _, err := ParseKey(KindContract, s.Contract); err != nil {
			return within(op, "spec.contract", err)
		}
	}
	for _, err := range []error{s.Source.validate(op), s.Destination.validate(op), s.validateSteps(op), s.validateReferences(op), s.validateTests(op)} {
		if err != nil {
			return err
		}
	}
	switch d, n := s.DeadLetters, s.Batch; {
	case d.RetentionHours < 0 || d.RetentionHours > 8760 || d.MaxBytes < 0:
		return fault.New(op, fault.Invalid, "spec.deadLetters is out of bounds").Advise("retentionHours is 0 to 8760, maxBytes 0 or more")
	case n.Events < 0 || n.Events > 10_000 || n.Bytes < 0 || n.Bytes > 16<<20:
		return fault.New(op, fault.Invalid, "spec.batch is out of bounds").Advise("events is 0 to 10000, bytes 0 to 16777216")
	}
	return nil
}

func (s *BridgeSource) validate(op string) error {
	if s.Endpoint == "" {
		return fault.New(op, fault.Invalid, "spec.source.endpoint is missing").Advise("name the private endpoint of the bridge's network that leads to the hub")
	}
	if err := ValidateName(s.Endpoint); err != nil {
		return within(op, "spec.source.endpoint", err)
	}
	for field, name := range map[string]string{"eventHub": s.EventHub, "consumerGroup": s.ConsumerGroup} {
		if name != "" && !anyHubName.MatchString(name) {
			return fault.Newf(op, fault.Invalid, "spec.source.%s is %.60q", field, name).Advise("use letters, digits and . _ -")
		}
	}
	switch s.Start {
	case "", "earliest", "latest":
	default:
		if _, err := time.Parse(time.RFC3339, s.Start); err != nil {
			return fault.Newf(op, fault.Invalid, "spec.source.start is %.40q", s.Start).Advise("write earliest, latest, or a time such as 2026-01-31T12:00:00Z")
		}
	}
	switch s.Repeats {
	case "", RepeatsDrop, RepeatsKeep:
	default:
		return fault.Newf(op, fault.Invalid, "spec.source.repeats is %.20q", s.Repeats).Advise("use Drop or Keep")
	}
	return validateSecret(op, "spec.source.secret", s.Secret)
}

func validateSecret(op, field, name string) error {
	if name == "" || secretName.MatchString(name) {
		return nil
	}
	return fault.Newf(op, fault.Invalid, "%s is %.40q", field, name).
		Advise("give the name of a file in the folder secrets of the agent's data directory: letters, digits and . _ -; the secret itself stands in no manifest")
}

// Endpoints lists the private endpoints a bridge needs, each once, the source's first.
func (s *BridgeSpec) Endpoints() []string {
	var out []string
	seen := map[string]bool{"": true}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	add(s.Source.Endpoint)
	add(s.Destination.Endpoint)
	for i := range s.Steps {
		if h := s.Steps[i].HTTP; h != nil {
			add(h.Endpoint)
		}
	}
	for _, r := range s.References {
		if r.Blob != nil {
			add(r.Blob.Endpoint)
		}
	}
	return out
}
