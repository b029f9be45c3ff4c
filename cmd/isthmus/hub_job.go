package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubJob(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "job", Aliases: []string{"jobs"}, Short: "Change twins or call methods of many devices, now or later",
		Long: `A job does one thing with all devices for which a condition holds when it starts. It survives restarts of the hub, and what became of each device can be queried:
SELECT * FROM devices.jobs.`,
		Example: `  isthmus hub job update-twin --where "tags.plant = 43" --desired interval=10 --watch
  isthmus hub job list`,
	}
	n := jobNoun(w)
	c.AddCommand(newJobUpdateTwin(w), newJobInvokeMethod(w), newJobList(w, n), newJobShow(w, n), newJobCancel(w, n), newJobWatch(w, n))
	return c
}

func jobNoun(w *world) *noun[*hubclient.Client, hubclient.Job] {
	return &noun[*hubclient.Client, hubclient.Job]{
		w: w, word: "job", path: "isthmus hub job", reach: toHub, list: allJobs("", ""), get: (*hubclient.Client).Job,
		name: func(j hubclient.Job) string { return j.ID }, heads: []string{"JOB", "WHAT", "STATUS", "DEVICES", "DONE", "FAILED", "CREATED"}, row: w.jobRow,
	}
}

func allJobs(kind, status string) func(*hubclient.Client, context.Context) ([]hubclient.Job, error) {
	return func(hub *hubclient.Client, ctx context.Context) ([]hubclient.Job, error) {
		var list []hubclient.Job
		for j, err := range hub.Jobs(ctx, kind, status) {
			if err != nil {
				return nil, err
			}
			list = append(list, j)
		}
		return list, nil
	}
}

// What a job does, as people write it.
const (
	jobUpdateTwin   = "update-twin"
	jobInvokeMethod = "invoke-method"
)

func jobKind(j hubclient.Job) string {
	switch {
	case j.Type == hubclient.UpdateTwins:
		return jobUpdateTwin
	case j.Method != nil:
		return jobInvokeMethod + " " + j.Method.Name
	case j.Type == hubclient.CallMethods:
		return jobInvokeMethod
	}
	return j.Type
}

// Statuses in which a job stays.
func jobEnded(j hubclient.Job) bool {
	return j.Status == jobCompleted || j.Status == jobFailed || j.Status == jobCancelled
}

const (
	jobCompleted = "completed"
	jobFailed    = "failed"
	jobCancelled = "cancelled"
)

func jobColour(status string) colour {
	switch status {
	case jobCompleted:
		return green
	case jobFailed:
		return red
	case jobCancelled:
		return yellow
	}
	return plain
}

func (w *world) jobRow(j hubclient.Job) []cell {
	r := cells(j.ID, jobKind(j), j.Status, "", "", "", w.ago(hubclient.Time(j.Created)))
	r[2].colour = jobColour(j.Status)
	if s := j.Statistics; s != nil {
		r[3].text, r[4].text, r[5].text = itoa(s.Devices), itoa(s.Succeeded), itoa(s.Failed)
		if s.Failed > 0 {
			r[5].colour = red
		}
	}
	return r
}

// jobFlags say for whom and when a job is.
type jobFlags struct {
	w      *world
	id     string
	where  string
	in     time.Duration
	at     string
	within time.Duration
	watch  bool
	out    output
}

func addJobFlags(w *world, c *cobra.Command) *jobFlags {
	j := &jobFlags{w: w}
	f := c.Flags()
	f.StringVar(&j.id, "id", "", "`ID` of the job; made from what it does and the time when absent")
	f.StringVar(&j.where, "where", "", "`CONDITION` for those it is for, as after WHERE in a query; '*' for all devices (required)")
	f.DurationVar(&j.in, "start", 0, "start after this `DURATION` instead of now")
	f.StringVar(&j.at, "start-at", "", "`TIME` to start at, as 2027-01-31T06:00:00Z")
	f.DurationVar(&j.within, "within", time.Hour, "`DURATION` from its start after which it ends, done or not")
	f.BoolVarP(&j.watch, "watch", "w", false, "stay and show how it gets on")
	j.out.addTo(c, "text", outJSON, outYAML)
	return j
}

// job is what the flags say of it.
func (f *jobFlags) job(kind, verb string) (hubclient.Job, error) {
	j := hubclient.Job{ID: f.id, Type: kind, Condition: f.where, Seconds: int64(f.within / time.Second)}
	if f.where == "" {
		return j, usagef("--where is missing").advise(`write --where "tags.plant = 43", or --where '*' for all devices`)
	}
	if j.ID == "" {
		random := make([]byte, 3)
		_, _ = rand.Read(random) // never fails
		j.ID = verb + "-" + f.w.clock.Now().UTC().Format("20060102-150405") + "-" + hex.EncodeToString(random)
	}
	starts, err := f.w.moment("start", f.in, f.at)
	if !starts.IsZero() {
		j.Starts = starts.UTC().Format(time.RFC3339)
	}
	return j, err
}

func (f *jobFlags) schedule(ctx context.Context, hub *hubclient.Client, j hubclient.Job) error {
	made, err := hub.ScheduleJob(ctx, j)
	if err != nil {
		return err
	}
	if f.watch {
		return f.w.watchJob(ctx, hub, made.ID, &f.out)
	}
	if f.out.structured() {
		return f.out.write(f.w, made)
	}
	f.w.printf("job %s %s\n", harmless(made.ID), harmless(made.Status))
	f.w.note("how it gets on: isthmus hub job watch %s", made.ID)
	return nil
}

func newJobUpdateTwin(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "update-twin [JSON] --where CONDITION", Short: "Change the twins of many devices", Args: cobra.MaximumNArgs(1),
		Long: `Change the twins of all devices for which a condition holds, as "isthmus hub twin patch" changes one. Try the condition first: isthmus hub query "SELECT COUNT() AS
devices FROM devices WHERE ..".`,
		Example: `  isthmus hub job update-twin --where "tags.plant = 43" --desired interval=10 --watch
  isthmus hub job update-twin --where '*' --file change.json --start-at 2027-01-31T06:00:00Z`,
	}
	a := toHub(w, c)
	flags := addJobFlags(w, c)
	edits := &twinEdits{input: addInput(w, c, "the change"), match: hubclient.Any}
	edits.addFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		j, err := flags.job(hubclient.UpdateTwins, jobUpdateTwin)
		if err != nil {
			return err
		}
		t, err := edits.twin(args)
		if err != nil {
			return err
		}
		if j.Twin, err = twinOfJob(t); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
			return flags.schedule(c.Context(), hub, j)
		})(c, args)
	}
	return c
}

func newJobInvokeMethod(w *world) *cobra.Command {
	var timeout, wait time.Duration
	c := &cobra.Command{
		Use: "invoke-method METHOD [JSON] --where CONDITION", Short: "Call a method of many devices", Args: cobra.RangeArgs(1, 2),
		Long: `Call a method of all devices for which a condition holds. A device that is not connected counts as failed, unless it comes within --wait. No device is called twice.`,
		Example: `  isthmus hub job invoke-method update '{"version": "1.4"}' --where "properties.reported.firmware = '1.3'" --wait 5m --watch
  isthmus hub job invoke-method reboot --where '*' --start-at 2027-01-31T06:00:00Z`,
	}
	a := toHub(w, c)
	flags := addJobFlags(w, c)
	payload := addInput(w, c, "the payload")
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long each device may take, as a `DURATION` from 5s to 5m")
	c.Flags().DurationVar(&wait, "wait", 0, "how long to wait for a device that is not connected, as a `DURATION` up to 5m")
	c.RunE = func(c *cobra.Command, args []string) error {
		j, err := flags.job(hubclient.CallMethods, jobInvokeMethod)
		if err != nil {
			return err
		}
		text, err := payload.json(args[1:])
		if err != nil {
			return err
		}
		j.Method = &hubclient.JobMethod{Name: args[0], Payload: text, Response: int(timeout / time.Second), Connect: int(wait / time.Second)}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
			return flags.schedule(c.Context(), hub, j)
		})(c, args)
	}
	return c
}
