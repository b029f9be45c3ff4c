package forward

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// Bucket is where storage endpoints write files. When Put returns nil, the file is whole and durable; a file of the same name is
// replaced.
type Bucket interface {
	Put(ctx context.Context, hub, bucket, name, contentType string, body []byte) error
}

// Config is how forwarding is done. The zero value works; without Bucket storage endpoints fail with words and lose nothing.
type Config struct {
	Bucket Bucket
	Look   time.Duration // how often endpoints are looked up and progress is told; 1 s
	Try    time.Duration // how long one attempt may take; 30 s
	Pause  time.Duration // the longest first pause after a failure; 1 s
}

// Forwarders is all forwarding of one process.
type Forwarders struct {
	cfg     Config
	server  *hub.Server
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics

	building chan struct{} // files are made two at a time, because they are in memory
}

// New returns forwarders that do nothing before Run. reg may be nil.
func New(cfg Config, server *hub.Server, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Forwarders {
	if cfg.Look <= 0 {
		cfg.Look = time.Second
	}
	if cfg.Try <= 0 {
		cfg.Try = 30 * time.Second
	}
	if cfg.Pause <= 0 {
		cfg.Pause = time.Second
	}
	return &Forwarders{cfg: cfg, server: server, log: log, clock: clk, metrics: newMetrics(reg), building: make(chan struct{}, 2)}
}

// key says which endpoint.
type key struct{ hub, endpoint string }

// Run forwards until ctx ends, and returns nil when all of it has ended.
func (f *Forwarders) Run(ctx context.Context) error {
	running := map[key]*sender{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		wanted := map[key]bool{}
		for _, h := range f.server.Hubs() {
			for _, e := range h.Endpoints() {
				if e.Kind == hub.StreamEndpoint {
					continue
				}
				k := key{h.ID(), e.Name}
				wanted[k] = true
				if old := running[k]; old != nil {
					if old.hub == h && old.endpoint == e {
						old.tell(ctx)
						continue
					}
					old.stop()
				}
				s, err := f.sender(ctx, h, e)
				if err != nil {
					f.log.Error("hub: an endpoint is not forwarded to", "hub", h.Name(), "endpoint", e.Name, "err", err)
					delete(running, k)
					continue
				}
				running[k] = s
				s.start(ctx, &all)
			}
		}
		for k, s := range running {
			if !wanted[k] {
				s.stop()
				f.metrics.forget(s.hub.Name(), k.endpoint)
				delete(running, k)
			}
		}
		fired, stop := f.clock.After(f.cfg.Look)
		select {
		case <-fired:
		case <-ctx.Done():
			stop()
			return nil
		}
	}
}

// sender forwards to one endpoint.
type sender struct {
	f        *Forwarders
	hub      *hub.Hub
	endpoint hub.Endpoint
	stream   hub.Stream
	aside    hub.Stream
	target   target
	lanes    []*lane
	cancel   context.CancelFunc
	ended    sync.WaitGroup
}

// target is what is behind an endpoint.
type target interface {
	// gather reads events beginning with from, waiting until it is time to deliver some. It returns none when ctx ends.
	gather(ctx context.Context, l *lane, from int64) (batch, error)
	// deliver makes one attempt, in which events before seen may be repeated. It may take less of the batch and then moves its end.
	// *refused says that the target does not want what it got for what it is.
	deliver(ctx context.Context, l *lane, b *batch, seen int64) error
	// ahead is how many events may be under way at once, and so be delivered twice; 0 when delivering twice changes nothing.
	ahead() int64
	close()
}

func (f *Forwarders) sender(ctx context.Context, h *hub.Hub, e hub.Endpoint) (*sender, error) {
	s := &sender{f: f, hub: h, endpoint: e}
	var err error
	if s.stream, err = h.Stream(e.Name); err != nil {
		return nil, err
	}
	if s.aside, err = h.Stream(hub.DeadLetter(e.Name)); err != nil {
		return nil, err
	}
	partitions, err := s.stream.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	switch e.Kind {
	case hub.StorageEndpoint:
		s.target = &storage{s}
	case hub.WebhookEndpoint:
		if s.target, err = newWebhook(s); err != nil {
			return nil, err
		}
	default:
		return nil, fault.Newf("forward.sender", fault.Invalid, "endpoints of kind %s are not known here", e.Kind)
	}
	for p := range partitions {
		s.lanes = append(s.lanes, &lane{sender: s, partition: p})
	}
	return s, nil
}

func (s *sender) start(ctx context.Context, all *sync.WaitGroup) {
	ctx, s.cancel = context.WithCancel(ctx)
	for _, l := range s.lanes {
		s.ended.Add(1)
		all.Go(func() {
			defer s.ended.Done()
			l.run(ctx)
		})
	}
	all.Go(func() {
		s.ended.Wait()
		s.target.close()
	})
}

// stop returns when nothing of the sender goes on.
func (s *sender) stop() {
	s.cancel()
	s.ended.Wait()
}

// tell says how far the sender has come.
func (s *sender) tell(ctx context.Context) {
	var p hub.Progress
	for _, l := range s.lanes {
		l.add(ctx, &p)
	}
	s.hub.SetProgress(s.endpoint.Name, p)
	s.f.metrics.set(s.hub.Name(), s.endpoint.Name, p, s.f.clock.Now())
}
