package httpdoor

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/job"
	"github.com/isthmus-io/isthmus/hub/limit"
)

const maxJobBody = 256 << 10

// jobRoutes are those of Config.Jobs (IoT Hub service REST API, Jobs).
func jobRoutes() []route {
	return []route{
		{method: "GET", path: "jobs/v2/query", open: toReaders, right: hub.ServiceConnect, or: hub.RegistryRead | hub.RegistryWrite, class: limit.Jobs, serve: withJobs(queryJobs)},
		{method: "PUT", path: "jobs/v2/{name}", right: hub.ServiceConnect, or: hub.RegistryRead | hub.RegistryWrite, class: limit.Jobs, serve: withJobs(putJob)},
		{method: "GET", path: "jobs/v2/{name}", open: toReaders, right: hub.ServiceConnect, or: hub.RegistryRead | hub.RegistryWrite, class: limit.Jobs, serve: withJobs(getJob)},
		{method: "POST", path: "jobs/v2/{name}/cancel", right: hub.ServiceConnect, or: hub.RegistryRead | hub.RegistryWrite, class: limit.Jobs, serve: withJobs(cancelJob)},
		{method: "POST", path: "jobs/create", right: hub.RegistryRead | hub.RegistryWrite, class: limit.Jobs, serve: withJobs(createTransfer)},
		{method: "GET", path: "jobs", right: hub.RegistryRead, class: limit.Jobs, serve: withJobs(listTransfers)},
		{method: "GET", path: "jobs/{name}", right: hub.RegistryRead, class: limit.Jobs, serve: withJobs(getTransfer)},
		{method: "DELETE", path: "jobs/{name}", right: hub.RegistryRead | hub.RegistryWrite, class: limit.Jobs, serve: withJobs(cancelTransfer)},
	}
}

// withJobs answers in words where there is no scheduler.
func withJobs(serve func(*exchange, *job.Scheduler) error) func(*exchange) error {
	return func(x *exchange) error {
		if x.door.cfg.Jobs == nil {
			return code.With(fault.New("httpdoor.jobs", fault.NotFound, "this hub runs no jobs"), code.NotFound)
		}
		return serve(x, x.door.cfg.Jobs)
	}
}

// jobJSON is a scheduled job on the wire. Times that did not come yet are absent.
type jobJSON struct {
	JobID            string          `json:"jobId"`
	QueryCondition   string          `json:"queryCondition,omitempty"`
	CreatedTime      string          `json:"createdTime,omitempty"`
	StartTime        string          `json:"startTime,omitempty"`
	EndTime          string          `json:"endTime,omitempty"`
	MaxExecutionTime int64           `json:"maxExecutionTimeInSeconds,omitempty"`
	Type             string          `json:"type"`
	Method           *job.Method     `json:"cloudToDeviceMethod,omitempty"`
	Twin             json.RawMessage `json:"updateTwin,omitempty"`
	Status           string          `json:"status"`
	FailureReason    string          `json:"failureReason,omitempty"`
	StatusMessage    string          `json:"statusMessage,omitempty"`
	Statistics       *statisticsJSON `json:"deviceJobStatistics,omitempty"`
}

type statisticsJSON struct {
	DeviceCount    int `json:"deviceCount"`
	FailedCount    int `json:"failedCount"`
	SucceededCount int `json:"succeededCount"`
	RunningCount   int `json:"runningCount"`
	PendingCount   int `json:"pendingCount"`
}

func viewJob(j job.Job) jobJSON {
	out := jobJSON{
		JobID: j.ID, QueryCondition: j.Condition, CreatedTime: timeOrNone(j.Created), StartTime: timeOrNone(j.Starts), EndTime: timeOrNone(j.Ended),
		MaxExecutionTime: int64(j.Limit / time.Second), Type: string(j.Type), Method: j.Method, Twin: j.Twin, Status: string(j.Status), FailureReason: j.Failure,
	}
	if !j.Started.IsZero() {
		out.StartTime = timeOrNone(j.Started)
	}
	if j.Statistics.Devices > 0 || !j.Started.IsZero() {
		s := j.Statistics
		out.Statistics = &statisticsJSON{s.Devices, s.Failed, s.Succeeded, s.Running, s.Pending}
	}
	return out
}

func timeOrNone(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return timeText(t)
}

func putJob(x *exchange, jobs *job.Scheduler) error {
	op := "httpdoor.putJob"
	var j jobJSON
	if err := x.decode(maxJobBody, &j); err != nil {
		return err
	}
	if j.JobID != "" && j.JobID != x.name {
		return fault.Newf(op, fault.Invalid, "jobId is %.100q and the path says %.100q", j.JobID, x.name)
	}
	if j.Type != string(job.UpdateTwin) && j.Type != string(job.CallMethod) {
		return fault.Newf(op, fault.Invalid, "the type of the job is %.40q", j.Type).Advise("use scheduleUpdateTwin or scheduleDeviceMethod")
	}
	starts, err := parseTime("startTime", j.StartTime)
	if err != nil {
		return err
	}
	made, err := jobs.Create(x.Context(), x.hub, job.Job{
		ID: x.name, Type: job.Type(j.Type), Condition: j.QueryCondition, Twin: j.Twin, Method: j.Method, Starts: starts,
		Limit: time.Duration(min(j.MaxExecutionTime, int64(100*365*24*time.Hour/time.Second))) * time.Second,
	})
	if err != nil {
		return err
	}
	out := viewJob(made)
	out.Status = string(job.Queued) // also of one whose time has not come, as a live hub answers
	return x.reply(out)
}

// parseTime reads a time of a request; the zone may be missing and is UTC then.
func parseTime(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.Newf("httpdoor.parseTime", fault.Invalid, "%s is %.60q, which is no time", field, text).Advise("write it as 2027-01-31T06:00:00Z")
}

func getJob(x *exchange, jobs *job.Scheduler) error {
	j, err := jobs.Get(x.Context(), x.hub, x.name)
	if fault.KindOf(err) == fault.NotFound { // a live hub answers so, with 200
		return x.reply(jobJSON{JobID: x.name, Type: "unknown", Status: "unknown"})
	}
	if err != nil {
		return err
	}
	return x.reply(viewJob(j))
}

func cancelJob(x *exchange, jobs *job.Scheduler) error {
	j, err := jobs.Cancel(x.Context(), x.hub, x.name)
	if err != nil {
		return err
	}
	return x.reply(viewJob(j))
}

func queryJobs(x *exchange, jobs *job.Scheduler) error {
	size := 100
	if s := x.Header.Get("x-ms-max-item-count"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1000 {
			return fault.Newf("httpdoor.queryJobs", fault.Invalid, "x-ms-max-item-count is %.20q", s).Advise("it is a number from 1 to 1000")
		}
		size = n
	}
	after := ""
	if s := x.Header.Get("x-ms-continuation"); s != "" {
		b, err := hex.DecodeString(s)
		if err != nil {
			return fault.New("httpdoor.queryJobs", fault.Invalid, "x-ms-continuation is none of this hub's").Advise("begin again without it")
		}
		after = string(b)
	}
	out := []jobJSON{}
	for len(out) < size {
		list, err := jobs.List(x.Context(), x.hub, job.Type(x.URL.Query().Get("jobType")), job.Status(x.URL.Query().Get("jobStatus")), after, size)
		if err != nil {
			return err
		}
		for _, j := range list {
			if after = j.ID; j.Type == job.UpdateTwin || j.Type == job.CallMethod {
				out = append(out, viewJob(j))
			}
			if len(out) == size {
				x.w.Header().Set("x-ms-continuation", hex.EncodeToString([]byte(after)))
				break
			}
		}
		if len(list) < size {
			break
		}
	}
	x.w.Header().Set("x-ms-item-type", "JobResponse")
	return x.reply(out)
}

// transferJSON is an import or an export job on the wire (IoT Hub service REST API, Jobs: create import export job).
type transferJSON struct {
	JobID         string `json:"jobId"`
	StartTimeUTC  string `json:"startTimeUtc,omitempty"`
	EndTimeUTC    string `json:"endTimeUtc,omitempty"`
	Type          string `json:"type"`
	Status        string `json:"status"`
	Progress      int    `json:"progress"`
	Input         string `json:"inputBlobContainerUri,omitempty"`
	Output        string `json:"outputBlobContainerUri,omitempty"`
	InputBlob     string `json:"inputBlobName,omitempty"`
	OutputBlob    string `json:"outputBlobName,omitempty"`
	ExcludeKeys   bool   `json:"excludeKeysInExport"`
	FailureReason string `json:"failureReason,omitempty"`
}

// viewTransfer leaves away what follows the question mark of an address: it is a key.
func viewTransfer(j job.Job) transferJSON {
	out := transferJSON{
		JobID: j.ID, StartTimeUTC: timeOrNone(j.Started), EndTimeUTC: timeOrNone(j.Ended), Type: string(j.Type), Status: string(j.Status), Progress: j.Progress, FailureReason: j.Failure,
	}
	if t := j.Transfer; t != nil {
		out.Input, out.Output, out.ExcludeKeys = withoutKey(t.From), withoutKey(t.To), t.ExcludeKeys
		if j.Type == job.Import {
			out.InputBlob = t.Blob
		} else {
			out.OutputBlob = t.Blob
		}
	}
	return out
}

func withoutKey(address string) string {
	for i := range len(address) {
		if address[i] == '?' {
			return address[:i]
		}
	}
	return address
}

func createTransfer(x *exchange, jobs *job.Scheduler) error {
	var j transferJSON
	if err := x.decode(maxJobBody, &j); err != nil {
		return err
	}
	if j.Type != string(job.Import) && j.Type != string(job.Export) {
		return fault.Newf("httpdoor.createTransfer", fault.Invalid, "the type of the job is %.40q", j.Type).Advise("use import or export")
	}
	if j.JobID == "" {
		id := make([]byte, 16)
		_, _ = rand.Read(id) // never fails
		j.JobID = hex.EncodeToString(id)
	}
	blob := j.InputBlob
	if j.Type == string(job.Export) {
		blob = j.OutputBlob
	}
	made, err := jobs.Create(x.Context(), x.hub, job.Job{
		ID: j.JobID, Type: job.Type(j.Type), Transfer: &job.Transfer{From: j.Input, To: j.Output, Blob: blob, ExcludeKeys: j.ExcludeKeys},
	})
	if err != nil {
		return err
	}
	out := viewTransfer(made)
	out.Status = "enqueued"
	return x.reply(out)
}

func listTransfers(x *exchange, jobs *job.Scheduler) error {
	out := []transferJSON{}
	for _, t := range []job.Type{job.Import, job.Export} {
		for after := ""; ; {
			list, err := jobs.List(x.Context(), x.hub, t, "", after, 1000)
			if err != nil {
				return err
			}
			for _, j := range list {
				out, after = append(out, viewTransfer(j)), j.ID
			}
			if len(list) < 1000 {
				break
			}
		}
	}
	return x.reply(out)
}

// transferOnly keeps scheduled jobs out of the routes of the others.
func transferOnly(j job.Job, err error) (job.Job, error) {
	if err == nil && j.Transfer == nil {
		err = code.With(fault.Newf("httpdoor.transfer", fault.NotFound, "job %.100q neither imports nor exports", j.ID).Advise("read it as /jobs/v2/%s", j.ID), code.JobNotFound)
	}
	return j, err
}

func getTransfer(x *exchange, jobs *job.Scheduler) error {
	j, err := transferOnly(jobs.Get(x.Context(), x.hub, x.name))
	if err != nil {
		return err
	}
	return x.reply(viewTransfer(j))
}

func cancelTransfer(x *exchange, jobs *job.Scheduler) error {
	if _, err := transferOnly(jobs.Get(x.Context(), x.hub, x.name)); err != nil {
		return err
	}
	if _, err := jobs.Cancel(x.Context(), x.hub, x.name); err != nil {
		return err
	}
	return x.nothing()
}
