package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

// lineLimit is how long a member may take to accept one line.
const lineLimit = 30 * time.Second

func (d *door) registerPlan() {
	op := route{id: "follow-plan", method: http.MethodGet, path: planPath, access: member, tag: "members",
		summary: "Follow one's plan: one plan a line, as soon as it changes; an empty line every 15 s"}
	handle(d, op, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: d.streamPlan}, nil
	})
	d.api.OpenAPI().Paths[planPath].Get.Responses["200"] = &huma.Response{
		Description: "Plans, until the member is removed, its certificate lapses or the server stops.",
		Content: map[string]*huma.MediaType{"application/x-ndjson": {Schema: &huma.Schema{
			Type: "string", Description: "lines, each empty or a JSON object: a plan, or a part of the rules of those that follow"}}},
	}
}

// streamPlan writes plans until something ends it. What happens before the first line is a problem; after it the end says enough.
func (d *door) streamPlan(hctx huma.Context) {
	r, w := humago.Unwrap(hctx)
	who := memberOf(hctx.Context())
	ctx, cancel := context.WithCancel(hctx.Context())
	defer cancel()
	d.metrics.streams.Inc()
	defer d.metrics.streams.Dec()

	plans, ended := make(chan plan.Plan), make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- d.ctl.WatchPlan(ctx, who.id, func(p plan.Plan) error {
			select {
			case plans <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	defer func() {
		cancel()
		for range ended { // closed once WatchPlan has returned
		}
	}()
	gone := false
	lapsed, stop := d.clock.After(who.end.Sub(d.clock.Now()))
	defer stop()
	s := &lineWriter{w: w, rc: http.NewResponseController(w)}
	for {
		quiet, stop := d.clock.After(d.cfg.KeepAlive)
		var err error
		select {
		case p := <-plans:
			err = s.plan(p)
		case <-quiet:
			err = s.line(nil)
		case err = <-ended:
			gone = true
			if !s.begun && ctx.Err() == nil {
				d.problemOf(orRemoved(ensured(err)), r).write(w)
			}
		case <-lapsed:
			err = fault.New("httpdoor.streamPlan", fault.Expired, "the client certificate has lapsed")
		case <-draining(ctx):
			err = fault.New("httpdoor.streamPlan", fault.Unavailable, "the server is stopping")
			if !s.begun {
				d.problemOf(err, r).write(w)
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
		stop()
		if err != nil || gone {
			d.log.Debug("a plan stream ended", "member", who.id, "why", err)
			return
		}
	}
}

// ensured makes sure that an end has a reason.
func ensured(err error) error {
	if err != nil {
		return err
	}
	return fault.New("httpdoor.streamPlan", fault.Unavailable, "the plan ended")
}

// lineWriter sends lines at once, each within a bounded time.
type lineWriter struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
	plans plan.Writer
}

func (s *lineWriter) plan(p plan.Plan) error {
	lines, err := s.plans.Lines(p)
	for i := 0; i < len(lines) && err == nil; i++ {
		err = s.put(lines[i])
	}
	if err != nil {
		return err
	}
	return s.rc.Flush()
}

func (s *lineWriter) line(b []byte) error {
	if err := s.put(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

func (s *lineWriter) put(b []byte) error {
	_ = s.rc.SetReadDeadline(time.Time{}) // the stream outlives what bounds a request
	_ = s.rc.SetWriteDeadline(time.Now().Add(lineLimit))
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/x-ndjson")
		s.w.WriteHeader(http.StatusOK)
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	_, err := s.w.Write([]byte{'\n'})
	return err
}
