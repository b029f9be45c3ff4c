package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// twinOfJob is a twin as jobs carry it.
func twinOfJob(t hubclient.Twin) (json.RawMessage, error) {
	t.ETag = hubclient.Any
	b, err := json.Marshal(t)
	return b, fault.Wrap("isthmus.job", fault.Internal, err, "")
}

func newJobList(w *world, n *noun[*hubclient.Client, hubclient.Job]) *cobra.Command {
	var out output
	var kind, status string
	kinds := map[string]string{"": "", jobUpdateTwin: hubclient.UpdateTwins, jobInvokeMethod: hubclient.CallMethods}
	statuses := []string{"queued", "scheduled", "running", jobCompleted, jobFailed, jobCancelled}
	c := &cobra.Command{
		Use: "list", Short: "List jobs", Args: cobra.NoArgs, Example: "  isthmus hub job list --status running",
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.Flags().StringVar(&kind, "type", "", "only those of this `TYPE`: update-twin, invoke-method")
	c.Flags().StringVar(&status, "status", "", "only those in this `STATUS`: "+strings.Join(statuses, ", "))
	completingValues(c, "type", jobUpdateTwin, jobInvokeMethod)
	completingValues(c, "status", statuses...)
	c.RunE = func(c *cobra.Command, args []string) error {
		wire, ok := kinds[kind]
		switch {
		case !ok:
			return usagef("--type %q is none", kind).advise("write update-twin or invoke-method")
		case status != "" && !slices.Contains(statuses, status):
			return usagef("--status %q is none", status).advise("write %s", strings.Join(statuses, ", "))
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
			list, err := allJobs(wire, status)(hub, c.Context())
			if err != nil {
				return err
			}
			return n.printList(list, &out)
		})(c, args)
	}
	return c
}

// failureView is a device that a job failed for.
type failureView struct {
	Device string          `json:"deviceId"`
	Module string          `json:"moduleId,omitempty"`
	Status string          `json:"status"`
	Error  json.RawMessage `json:"error,omitempty"`
}

func (f failureView) why() string {
	var e struct {
		Code        json.RawMessage
		Description string
	}
	if json.Unmarshal(f.Error, &e) == nil && e.Description != "" {
		return strings.TrimSpace(strings.Trim(string(e.Code), `"`) + " " + e.Description)
	}
	return plainText(f.Error)
}

// mostFailures is how many are shown; a query finds all.
const mostFailures = 10

func failuresOf(ctx context.Context, hub *hubclient.Client, id string) []failureView {
	query := "SELECT * FROM devices.jobs WHERE jobId = '" + strings.ReplaceAll(id, "'", "''") + "' AND status = 'failed'"
	p, err := hub.Find(ctx, query, mostFailures, "")
	if err != nil {
		return nil // they are beside the matter
	}
	var out []failureView
	for _, item := range p.Items {
		var f failureView
		if json.Unmarshal(item, &f) == nil {
			out = append(out, f)
		}
	}
	return out
}

func newJobShow(w *world, n *noun[*hubclient.Client, hubclient.Job]) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "show JOB", Short: "Show a job, and some of the devices it failed for", Args: cobra.ExactArgs(1), Example: "  isthmus hub job show update-43",
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		j, err := hub.Job(c.Context(), args[0])
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, j)
		}
		w.printJob(j)
		if j.Statistics != nil && j.Statistics.Failed > 0 {
			w.printFailures(failuresOf(c.Context(), hub, j.ID), j)
		}
		return nil
	})
	return c
}

func (w *world) printJob(j hubclient.Job) {
	rows := [][2]string{
		{"Job", j.ID}, {"What", jobKind(j)}, {"For", first(j.Condition, "all devices")}, {"Status", j.Status}, {"Why", j.Failure},
		{"Created", w.when(j.Created)}, {"Started", w.when(j.Starts)}, {"Ended", w.when(j.Ended)}, {"Ends by itself", span(time.Duration(j.Seconds)*time.Second) + " after its start"},
	}
	if t := hubclient.Time(j.Starts); t.After(w.clock.Now()) {
		rows[6][0] = "Starts"
	}
	if j.Twin != nil {
		rows = append(rows, [2]string{"Change", plainText(j.Twin)})
	}
	if j.Method != nil && j.Method.Payload != nil {
		rows = append(rows, [2]string{"Payload", plainText(j.Method.Payload)})
	}
	w.pairs(rows...)
	if s := j.Statistics; s != nil {
		w.printf("\n%s\n", w.jobBar(j))
	}
}

func (w *world) when(text string) string {
	if t := hubclient.Time(text); t.Year() > 1 {
		return w.at(t)
	}
	return ""
}

func (w *world) printFailures(list []failureView, j hubclient.Job) {
	var rows [][]cell
	for _, f := range list {
		rows = append(rows, cells(hubclient.Device{ID: f.Device, ModuleID: f.Module}.Name(), f.why()))
	}
	if len(rows) == 0 {
		return
	}
	w.printf("\n")
	w.table([]string{"FAILED", "WHY"}, rows)
	if j.Statistics.Failed > len(list) {
		w.note("%d of %d; all: isthmus hub query \"SELECT * FROM devices.jobs WHERE jobId = '%s' AND status = 'failed'\"", len(list), j.Statistics.Failed, j.ID)
	}
}

func newJobCancel(w *world, n *noun[*hubclient.Client, hubclient.Job]) *cobra.Command {
	c := &cobra.Command{
		Use: "cancel JOB...", Short: "End jobs; what they did stays", Args: cobra.MinimumNArgs(1), Example: "  isthmus hub job cancel update-43",
	}
	a := toHub(w, c)
	c.ValidArgsFunction = n.complete(a, true)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		for _, id := range args {
			if _, err := hub.CancelJob(c.Context(), id); err != nil {
				return err
			}
			w.printf("job %s cancelled\n", harmless(id))
		}
		return nil
	})
	return c
}

func newJobWatch(w *world, n *noun[*hubclient.Client, hubclient.Job]) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "watch JOB", Short: "Show how a job gets on until it ends", Args: cobra.ExactArgs(1), Example: "  isthmus hub job watch update-43",
		Long: `Show how a job gets on until it ends: a bar at a terminal, a line now and then elsewhere. The exit code is 1 when the job failed, was cancelled, or failed for some
device. Interrupting this does not end the job.`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		return w.watchJob(c.Context(), hub, args[0], &out)
	})
	return c
}

// jobEvery is how often a job is looked at.
const jobEvery = 500 * time.Millisecond

func (w *world) watchJob(ctx context.Context, hub *hubclient.Client, id string, out *output) error {
	line := &liveLine{out: w.err, live: w.terminal, last: w.clock.Now()}
	defer line.end()
	for {
		j, err := hub.Job(ctx, id)
		switch {
		case ctx.Err() != nil:
			line.end()
			w.note("the job goes on; end it with: isthmus hub job cancel %s", id)
			return nil
		case err != nil:
			return err
		case jobEnded(j):
			line.end()
			return w.jobResult(ctx, hub, j, out)
		case line.live:
			line.show(w.jobBar(j))
		case line.seldom(w.clock.Now()):
			_, _ = fmt.Fprintln(line, w.jobBar(j))
		}
		fired, cancel := w.clock.After(jobEvery)
		select {
		case <-fired:
		case <-ctx.Done():
		}
		cancel()
	}
}

func (w *world) jobResult(ctx context.Context, hub *hubclient.Client, j hubclient.Job, out *output) error {
	if out.structured() {
		if err := out.write(w, j); err != nil {
			return err
		}
	} else {
		w.printf("%s\n", w.jobBar(j))
		if j.Statistics != nil && j.Statistics.Failed > 0 {
			w.printFailures(failuresOf(ctx, hub, j.ID), j)
		}
	}
	failed := 0
	if j.Statistics != nil {
		failed = j.Statistics.Failed
	}
	switch {
	case j.Failure != "":
		return fault.Newf("isthmus.job", fault.Precondition, "job %s %s: %s", j.ID, j.Status, j.Failure)
	case j.Status != jobCompleted:
		return fault.Newf("isthmus.job", fault.Precondition, "job %s %s", j.ID, j.Status)
	case failed > 0:
		return fault.Newf("isthmus.job", fault.Precondition, "job %s failed for %s", j.ID, count(failed, "device"))
	}
	return nil
}

// jobBar is how far a job is, as a picture and in numbers.
func (w *world) jobBar(j hubclient.Job) string {
	paint := w.painter()
	s := j.Statistics
	if s == nil || s.Devices == 0 {
		return fmt.Sprintf("%s %s", harmless(j.ID), paint(jobColour(j.Status), harmless(j.Status)))
	}
	const width = 30
	bad := width * s.Failed / s.Devices
	if s.Failed > 0 && bad == 0 {
		bad = 1
	}
	good := min(width-bad, width*s.Succeeded/s.Devices)
	text := paint(green, strings.Repeat("█", good)) + paint(red, strings.Repeat("▓", bad)) + strings.Repeat("░", width-good-bad)
	done := s.Succeeded + s.Failed
	return fmt.Sprintf("%s %3d %%  %d of %d done, %d failed, %d under way  %s", text, 100*done/s.Devices, done, s.Devices, s.Failed, s.Running, harmless(j.Status))
}
