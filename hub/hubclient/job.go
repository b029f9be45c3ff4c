package hubclient

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
)

// The two types of scheduled jobs.
const (
	UpdateTwins = "scheduleUpdateTwin"
	CallMethods = "scheduleDeviceMethod"
)

// Job does something to many devices at a time.
type Job struct {
	ID         string          `json:"jobId"`
	Type       string          `json:"type"` // UpdateTwins or CallMethods
	Condition  string          `json:"queryCondition,omitempty"`
	Starts     string          `json:"startTime,omitempty"` // RFC 3339; empty for now
	Seconds    int64           `json:"maxExecutionTimeInSeconds,omitempty"`
	Twin       json.RawMessage `json:"updateTwin,omitempty"`
	Method     *JobMethod      `json:"cloudToDeviceMethod,omitempty"`
	Status     string          `json:"status,omitempty"`
	Created    string          `json:"createdTime,omitempty"`
	Ended      string          `json:"endTime,omitempty"`
	Failure    string          `json:"failureReason,omitempty"`
	Statistics *JobStatistics  `json:"deviceJobStatistics,omitempty"`
}

// JobMethod is the method of a job.
type JobMethod struct {
	Name     string          `json:"methodName"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	Response int             `json:"responseTimeoutInSeconds,omitempty"`
	Connect  int             `json:"connectTimeoutInSeconds,omitempty"`
}

// JobStatistics count a job's devices.
type JobStatistics struct {
	Devices   int `json:"deviceCount"`
	Failed    int `json:"failedCount"`
	Succeeded int `json:"succeededCount"`
	Running   int `json:"runningCount"`
	Pending   int `json:"pendingCount"`
}

// ScheduleJob creates a job. Conflict when there is one of its id.
func (c *Client) ScheduleJob(ctx context.Context, j Job) (Job, error) {
	var out Job
	err := c.call(ctx, http.MethodPut, "/jobs/v2/"+url.PathEscape(j.ID), nil, "", j, &out)
	return out, err
}

// Job reads a job. NotFound when there is none.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	var out Job
	err := c.call(ctx, http.MethodGet, "/jobs/v2/"+url.PathEscape(id), nil, "", nil, &out)
	if err == nil && out.Type == "unknown" { // how hubs say it
		err = code.With(fault.Newf("hubclient.Job", fault.NotFound, "the hub has no job %q", id).Advise("list them: isthmus hub job list"), code.JobNotFound)
	}
	return out, err
}

// CancelJob ends a job: devices that were not reached are not.
func (c *Client) CancelJob(ctx context.Context, id string) (Job, error) {
	var out Job
	err := c.call(ctx, http.MethodPost, "/jobs/v2/"+url.PathEscape(id)+"/cancel", nil, "", nil, &out)
	return out, err
}

// Jobs ranges over the jobs of a type and a status, each of which may be empty for all; an error ends it.
func (c *Client) Jobs(ctx context.Context, kind, status string) iter.Seq2[Job, error] {
	q := url.Values{}
	if kind != "" {
		q.Set("jobType", kind)
	}
	if status != "" {
		q.Set("jobStatus", status)
	}
	pages := all(func(next string) (Page, error) { return c.page(ctx, http.MethodGet, "/jobs/v2/query", q, 0, next, nil) })
	return func(yield func(Job, error) bool) {
		for item, err := range pages {
			var j Job
			if err == nil {
				err = fault.Wrap("hubclient.Jobs", fault.Unavailable, json.Unmarshal(item, &j), "the hub's answer cannot be read")
			}
			if !yield(j, err) || err != nil {
				return
			}
		}
	}
}

// Transfer is a job that reads identities from a blob or writes them into one.
type Transfer struct {
	ID          string `json:"jobId,omitempty"`
	Type        string `json:"type"` // import or export
	Input       string `json:"inputBlobContainerUri,omitempty"`
	Output      string `json:"outputBlobContainerUri,omitempty"`
	InputBlob   string `json:"inputBlobName,omitempty"`
	OutputBlob  string `json:"outputBlobName,omitempty"`
	ExcludeKeys bool   `json:"excludeKeysInExport"`
	Status      string `json:"status,omitempty"`
	Progress    int    `json:"progress,omitempty"` // per cent
	Started     string `json:"startTimeUtc,omitempty"`
	Ended       string `json:"endTimeUtc,omitempty"`
	Failure     string `json:"failureReason,omitempty"`
}

// StartTransfer begins one.
func (c *Client) StartTransfer(ctx context.Context, t Transfer) (Transfer, error) {
	var out Transfer
	err := c.call(ctx, http.MethodPost, "/jobs/create", nil, "", t, &out)
	return out, err
}

// Transfer reads one. NotFound when there is none.
func (c *Client) Transfer(ctx context.Context, id string) (Transfer, error) {
	var out Transfer
	err := c.call(ctx, http.MethodGet, "/jobs/"+url.PathEscape(id), nil, "", nil, &out)
	return out, err
}

// Transfers lists them.
func (c *Client) Transfers(ctx context.Context) ([]Transfer, error) {
	var out []Transfer
	err := c.call(ctx, http.MethodGet, "/jobs", nil, "", nil, &out)
	return out, err
}

// CancelTransfer ends one; what it did stays.
func (c *Client) CancelTransfer(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/jobs/"+url.PathEscape(id), nil, "", nil, nil)
}

// Time reads one of a job's times; zero for none.
func Time(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
}
