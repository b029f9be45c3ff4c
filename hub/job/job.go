package job

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Type says what a job does.
type Type string

const (
	UpdateTwin Type = "scheduleUpdateTwin"
	CallMethod Type = "scheduleDeviceMethod"
	Import     Type = "import"
	Export     Type = "export"
)

// Status is where a job is (IoT Hub: job status).
type Status string

const (
	Queued    Status = "queued"    // accepted, to be started as soon as there is room
	Scheduled Status = "scheduled" // its time has not come
	Running   Status = "running"
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Statuses of the work with one identity.
const (
	devicePending   = "pending"
	deviceRunning   = "running"
	deviceCompleted = "completed"
	deviceFailed    = "failed"
	deviceCanceled  = "canceled"
)

const (
	// DefaultLimit is how long a job may take unless it says otherwise (the SDKs' default: one hour).
	DefaultLimit = time.Hour
	maxLimit     = 30 * 24 * time.Hour
	maxAhead     = 365 * 24 * time.Hour
	maxID        = 128
	maxCondition = 8 << 10
)

// Method is what a job of type CallMethod calls.
type Method struct {
	Name     string          `json:"methodName"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	Response int             `json:"responseTimeoutInSeconds,omitempty"`
	Connect  int             `json:"connectTimeoutInSeconds,omitempty"`
}

// Transfer is where an import or an export reads and writes: addresses of blob containers.
type Transfer struct {
	From        string `json:"inputBlobContainerUri,omitempty"`
	To          string `json:"outputBlobContainerUri,omitempty"`
	Blob        string `json:"blobName,omitempty"` // devices.txt when empty
	ExcludeKeys bool   `json:"excludeKeysInExport,omitempty"`
}

// Job is a job as people see it.
type Job struct {
	ID         string
	Type       Type
	Status     Status
	Condition  string          // a query condition; empty or * for every device
	Twin       json.RawMessage // of UpdateTwin: {"tags":..,"properties":{"desired":..}}
	Method     *Method         // of CallMethod
	Transfer   *Transfer       // of Import and Export
	Created    time.Time
	Starts     time.Time // not before; zero is now
	Started    time.Time
	Ended      time.Time
	Limit      time.Duration // from its start; DefaultLimit when zero
	Progress   int           // per cent
	Failure    string        // why it failed, in words
	Statistics Statistics
}

// Statistics counts the work of a job by how far it is.
type Statistics struct {
	Devices, Failed, Succeeded, Running, Pending int
}

// payload is what the store keeps of a job beside its columns.
type payload struct {
	Twin     json.RawMessage `json:"twin,omitempty"`
	Method   *Method         `json:"method,omitempty"`
	Transfer *Transfer       `json:"transfer,omitempty"`
}

func (j Job) record(hubID string) (hubstore.Job, error) {
	b, err := json.Marshal(payload{j.Twin, j.Method, j.Transfer})
	return hubstore.Job{
		Hub: hubID, ID: j.ID, Type: string(j.Type), Status: string(j.Status), Condition: j.Condition, Payload: string(b), Created: j.Created, Starts: j.Starts,
		Started: j.Started, Ended: j.Ended, Seconds: int64(j.Limit / time.Second), Progress: j.Progress, Failure: j.Failure,
	}, fault.Wrap("job.record", fault.Invalid, err, "what the job is to do is not JSON")
}

func fromRecord(r hubstore.Job) (Job, error) {
	var p payload
	err := json.Unmarshal([]byte(r.Payload), &p)
	return Job{
		ID: r.ID, Type: Type(r.Type), Status: Status(r.Status), Condition: r.Condition, Twin: p.Twin, Method: p.Method, Transfer: p.Transfer, Created: r.Created,
		Starts: r.Starts, Started: r.Started, Ended: r.Ended, Limit: time.Duration(r.Seconds) * time.Second, Progress: r.Progress, Failure: r.Failure,
	}, fault.Wrap("job.read", fault.Internal, err, "")
}

// check refuses what could not be carried out, and fills in what was left open.
func (j *Job) check(now time.Time) error {
	op := "job.Create"
	bad := func(format string, args ...any) *fault.Error { return fault.Newf(op, fault.Invalid, format, args...) }
	if j.ID == "" || len(j.ID) > maxID || strings.ContainsFunc(j.ID, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
		return bad("the job's id is empty, longer than %d characters, or holds something else than visible ASCII", maxID).Advise("letters, digits and - . _ are always right")
	}
	if len(j.Condition) > maxCondition {
		return bad("the query condition is longer than %d bytes", maxCondition)
	}
	if j.Limit == 0 {
		j.Limit = DefaultLimit
	}
	if j.Limit < time.Second || j.Limit > maxLimit {
		return bad("maxExecutionTimeInSeconds is %d", j.Limit/time.Second).Advise("it is from 1 second to 30 days")
	}
	if j.Starts.After(now.Add(maxAhead)) {
		return bad("startTime is more than a year ahead")
	}
	switch j.Type {
	case UpdateTwin:
		if len(j.Twin) == 0 {
			return bad("updateTwin is missing").Advise(`send {"tags": ..., "properties": {"desired": ...}}`)
		}
		if _, err := twin.ReadPatch(j.Twin); err != nil { // every device would fail
			return bad("updateTwin: %s", fault.Message(err)).Advise("%s", fault.Next(err)).Because(err)
		}
	case CallMethod:
		if j.Method == nil || j.Method.Name == "" {
			return bad("cloudToDeviceMethod is missing or names no method")
		}
		if err := j.Method.request().Check(); err != nil {
			return bad("cloudToDeviceMethod: %s", fault.Message(err)).Advise("%s", fault.Next(err)).Because(err)
		}
	case Import:
		if j.Transfer == nil || j.Transfer.From == "" {
			return bad("inputBlobContainerUri is missing").Advise("name the container that holds devices.txt")
		}
	case Export:
		if j.Transfer == nil || j.Transfer.To == "" {
			return bad("outputBlobContainerUri is missing").Advise("name the container that gets devices.txt")
		}
	default:
		return bad("the type of the job is %.40q", string(j.Type)).Advise("use scheduleUpdateTwin, scheduleDeviceMethod, import or export")
	}
	return nil
}

func (m *Method) request() hub.MethodRequest {
	seconds := func(n int) time.Duration { return time.Duration(min(max(n, -1), 1e6)) * time.Second } // far beyond what is allowed
	return hub.MethodRequest{Name: m.Name, Payload: m.Payload, Response: seconds(m.Response), Connect: seconds(m.Connect)}
}
