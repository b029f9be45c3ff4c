package restart

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// crowd is how many devices jobs and configurations are about. They never connect.
const crowd = 60

// office is who gives work to many devices at a time.
type office struct {
	w     *world
	pumps []*pump

	mu      sync.Mutex // guards the fields below
	jobs    []string
	called  map[string]int // succeeded calls by job
	applied []int
	failed  int // calls of methods that jobs gave up
}

func (w *world) office(pumps []*pump) *office {
	w.t.Helper()
	var changes []hubclient.Change
	for i := range crowd {
		changes = append(changes, hubclient.Change{Device: hubclient.Device{ID: fmt.Sprintf("crowd-%02d", i)}, Mode: hubclient.ToCreate})
	}
	failed, err := w.hub.Change(w.ctx, changes)
	must(w.t, err)
	if len(failed) > 0 {
		w.t.Fatal(failed)
	}
	for _, c := range changes {
		_, err := w.hub.PatchTwin(w.ctx, c.ID, hubclient.Twin{Tags: json.RawMessage(`{"in":"crowd"}`)}, hubclient.Any)
		must(w.t, err)
	}
	return &office{w: w, pumps: pumps, called: map[string]int{}}
}

func (o *office) work(ctx context.Context) {
	var twins, calls, configurations int
	o.w.useNow(ctx, "twin jobs", 1, 50*time.Millisecond, func(ctx context.Context) bool {
		twins++
		return o.tag(ctx, twins)
	})
	o.w.useNow(ctx, "method jobs", 1, 50*time.Millisecond, func(ctx context.Context) bool {
		calls++
		return o.call(ctx, calls)
	})
	o.w.useNow(ctx, "configurations", 1, 0, func(ctx context.Context) bool {
		configurations++
		return o.configure(ctx, configurations)
	})
}

// job schedules a job and waits for its end, whatever happens to the hub meanwhile.
func (o *office) job(ctx context.Context, j hubclient.Job) (hubclient.Job, bool) {
	if !o.w.again(ctx, "scheduling "+j.ID, func(ctx context.Context) error {
		_, err := o.w.hub.ScheduleJob(ctx, j)
		if code.Of(err) == code.JobAlreadyExists { // nobody had answered
			return nil
		}
		return err
	}) {
		return j, false
	}
	before, at := 0, j
	ok := o.w.again(ctx, "following "+j.ID, func(ctx context.Context) (err error) {
		if at, err = o.w.hub.Job(ctx, j.ID); err != nil {
			return err
		}
		done := 0
		if s := at.Statistics; s != nil {
			done = s.Succeeded + s.Failed
		}
		if done < before {
			o.w.wrongly("job %s had done %d and now %d", j.ID, before, done)
		}
		before = done
		if at.Status != "completed" && at.Status != "failed" {
			return fault.New("restart", fault.Unavailable, "it goes on")
		}
		return nil
	})
	if ok && at.Status != "completed" {
		o.w.wrongly("job %s ended as %s: %s", j.ID, at.Status, at.Failure)
	}
	return at, ok
}

// tag has a job write a tag into every twin of the crowd.
func (o *office) tag(ctx context.Context, n int) bool {
	id := fmt.Sprintf("tag-%d", n)
	j, ok := o.job(ctx, hubclient.Job{ID: id, Type: hubclient.UpdateTwins, Condition: "tags.in = 'crowd'", Twin: fmt.Appendf(nil, `{"etag":"*","tags":{"job":%d}}`, n)})
	if !ok {
		return false
	}
	if s := j.Statistics; s == nil || s.Devices != crowd || s.Succeeded != crowd {
		o.w.wrongly("job %s ended with %+v", id, s)
	}
	var found int
	if !o.w.again(ctx, "counting", func(ctx context.Context) (err error) {
		found, err = o.count(ctx, fmt.Sprintf("SELECT COUNT() AS n FROM devices WHERE tags.job = %d", n))
		return err
	}) {
		return false
	}
	if found != crowd {
		o.w.wrongly("job %s is completed, and %d devices of %d have its tag", id, found, crowd)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.jobs = append(o.jobs, id)
	return true
}

func (o *office) count(ctx context.Context, query string) (int, error) {
	page, err := o.w.hub.Find(ctx, query, 0, "")
	if err != nil {
		return 0, err
	}
	var row struct{ N int }
	if len(page.Items) == 1 {
		err = json.Unmarshal(page.Items[0], &row)
	}
	return row.N, err
}

// call has a job call a method of every device that connects.
func (o *office) call(ctx context.Context, n int) bool {
	id := fmt.Sprintf("call-%d", n)
	payload := fmt.Sprintf(`{"job":%d}`, n)
	j, ok := o.job(ctx, hubclient.Job{ID: id, Type: hubclient.CallMethods, Condition: "STARTSWITH(deviceId, 'pump-')", Method: &hubclient.JobMethod{
		Name: "work", Payload: json.RawMessage(payload), Response: 5, Connect: 5,
	}})
	if !ok {
		return false
	}
	s := j.Statistics
	if s == nil || s.Devices != len(o.pumps) || s.Succeeded+s.Failed != len(o.pumps) {
		o.w.wrongly("job %s ended with %+v", id, s)
		return false
	}
	called := 0
	for _, p := range o.pumps {
		p.mu.Lock()
		called += p.called["work "+payload]
		p.mu.Unlock()
	}
	if called < s.Succeeded || called > len(o.pumps) {
		o.w.wrongly("job %s says that %d devices did it, and %d did", id, s.Succeeded, called)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.called[id] = s.Succeeded
	o.failed += s.Failed
	return true
}

// configure makes a configuration, waits until the crowd has it, and takes it away.
func (o *office) configure(ctx context.Context, n int) bool {
	id := fmt.Sprintf("conf-%d", n)
	if !o.w.again(ctx, "making "+id, func(ctx context.Context) error {
		_, err := o.w.hub.CreateConfiguration(ctx, hubclient.Configuration{
			ID: id, Target: "tags.in = 'crowd'", Priority: int64(n), Content: fmt.Appendf(nil, `{"deviceContent":{"properties.desired.conf":{"n":%d}}}`, n),
		})
		if fault.KindOf(err) == fault.Conflict {
			return nil
		}
		return err
	}) {
		return false
	}
	if !o.w.again(ctx, "following "+id, func(ctx context.Context) error {
		c, err := o.w.hub.Configuration(ctx, id)
		if err != nil {
			return err
		}
		if c.SystemMetrics == nil || c.SystemMetrics.Results["appliedCount"] != crowd {
			return fault.New("restart", fault.Unavailable, "it goes on")
		}
		return nil
	}) {
		return false
	}
	var found int
	if !o.w.again(ctx, "counting", func(ctx context.Context) (err error) {
		found, err = o.count(ctx, fmt.Sprintf("SELECT COUNT() AS n FROM devices WHERE properties.desired.conf.n = %d", n))
		return err
	}) {
		return false
	}
	if found != crowd {
		o.w.wrongly("%s is applied, and %d devices of %d have it", id, found, crowd)
	}
	if !o.w.again(ctx, "taking away "+id, func(ctx context.Context) error {
		err := o.w.hub.DeleteConfiguration(ctx, id, hubclient.Any)
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}
		return err
	}) {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.applied = append(o.applied, n)
	return true
}

// check looks whether jobs that ended are still there as they ended, and no configuration that was taken away.
func (o *office) check() {
	w := o.w
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range o.jobs {
		if j, err := w.hub.Job(w.ctx, id); err != nil || j.Status != "completed" || j.Statistics == nil || j.Statistics.Succeeded != crowd {
			w.wrongly("job %s is %+v, %v", id, j, err)
		}
	}
	for id, n := range o.called {
		if j, err := w.hub.Job(w.ctx, id); err != nil || j.Statistics == nil || j.Statistics.Succeeded != n {
			w.wrongly("job %s is %+v, %v", id, j, err)
		}
	}
	list, err := w.hub.Configurations(w.ctx, 100)
	if err != nil || len(list) > 1 { // the last may not have come to its end
		w.wrongly("%d configurations are there, %v", len(list), err)
	}
	w.t.Logf("%d jobs changed twins, %d called methods (%d calls were given up), %d configurations were applied", len(o.jobs), len(o.called), o.failed, len(o.applied))
}

// useNow is use with another measure of progress.
func (w *world) useNow(ctx context.Context, name string, need int, pause time.Duration, once func(context.Context) bool) {
	w.mu.Lock()
	w.need[name] = need
	w.mu.Unlock()
	w.use(ctx, name, pause, once)
}
