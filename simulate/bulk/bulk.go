package bulk

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// Registry is whose devices are changed; *hubclient.Client is one.
type Registry interface {
	Change(ctx context.Context, changes []hubclient.Change) (failed map[string]error, err error)
}

// Counts says what became of devices.
type Counts struct {
	Done    int `json:"done"`    // created, or deleted
	Already int `json:"already"` // they were there already, or were not there
	Failed  int `json:"failed"`
}

// All is how many devices have been dealt with.
func (c Counts) All() int { return c.Done + c.Already + c.Failed }

// Failure is a device that could not be changed.
type Failure struct {
	Device string
	Err    error
}

// Result is the counts, and the first failures by device id.
type Result struct {
	Counts
	Failures []Failure // at most maxFailures
}

const (
	parallel    = 4
	maxFailures = 10
)

// Keys returns the keys a device is created with; nil for such as the hub makes.
type Keys func(device string) (*hubclient.Auth, error)

// Create creates devices. progress, which may be nil, is called after each request, one call at a time. The error is that of a request
// which was refused whole or did not arrive; what was done until then is in the result.
func Create(ctx context.Context, r Registry, devices []string, keys Keys, progress func(Counts)) (Result, error) {
	return run(ctx, r, devices, progress, fault.Conflict, func(id string) (hubclient.Change, error) {
		c := hubclient.Change{Device: hubclient.Device{ID: id}, Mode: hubclient.ToCreate}
		if keys == nil {
			return c, nil
		}
		var err error
		c.Authentication, err = keys(id)
		return c, err
	})
}

// Delete deletes devices; the rest is as for Create.
func Delete(ctx context.Context, r Registry, devices []string, progress func(Counts)) (Result, error) {
	return run(ctx, r, devices, progress, fault.NotFound, func(id string) (hubclient.Change, error) {
		return hubclient.Change{Device: hubclient.Device{ID: id}, Mode: hubclient.ToDelete}, nil
	})
}

func run(ctx context.Context, r Registry, devices []string, progress func(Counts), already fault.Kind, change func(string) (hubclient.Change, error)) (Result, error) {
	var mu sync.Mutex // guards res, and calls of progress
	var res Result
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for chunk := range slices.Chunk(devices, hubclient.MaxBulk) {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			list := make([]hubclient.Change, len(chunk))
			for i, id := range chunk {
				var err error
				if list[i], err = change(id); err != nil {
					return err
				}
			}
			failed, err := r.Change(ctx, list)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range chunk {
				switch err, ok := failed[id]; {
				case !ok:
					res.Done++
				case fault.KindOf(err) == already:
					res.Already++
				default:
					res.Failed++
					res.Failures = append(res.Failures, Failure{id, err})
				}
			}
			if progress != nil {
				progress(res.Counts)
			}
			return nil
		})
	}
	err := g.Wait()
	if err == nil {
		err = context.Cause(ctx)
		if res.All() == len(devices) { // the group ends its context itself
			err = nil
		}
	}
	slices.SortFunc(res.Failures, func(a, b Failure) int { return cmp.Compare(a.Device, b.Device) })
	res.Failures = res.Failures[:min(len(res.Failures), maxFailures)]
	return res, err
}
