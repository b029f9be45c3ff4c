package configuration

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/query"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Config bounds an engine. The zero value works.
type Config struct {
	Most  int           // configurations of one hub; 100 (IoT Hub: quotas)
	Every time.Duration // between two comparisons, at least; 10 s. One that took long is followed by a pause twenty times as long
}

// Engine carries out the configurations of all hubs of a server.
type Engine struct {
	cfg    Config
	server *hub.Server
	log    *slog.Logger
	clock  clock.Clock
	wake   chan struct{} // a configuration changed; capacity 1
}

// New returns an engine; configurations are accepted at once and carried out while Run runs.
func New(cfg Config, server *hub.Server, log *slog.Logger, clk clock.Clock) *Engine {
	if cfg.Most <= 0 {
		cfg.Most = 100
	}
	if cfg.Every <= 0 {
		cfg.Every = 10 * time.Second
	}
	return &Engine{cfg, server, log, clk, make(chan struct{}, 1)}
}

// Run compares conditions and identities until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	for {
		began := e.clock.Now()
		every, hubs := e.cfg.Every, e.server.Hubs()
		if len(hubs) == 0 { // the plan is not here yet
			every = min(every, time.Second)
		}
		for _, h := range hubs {
			if err := e.CarryOut(ctx, h); err != nil && ctx.Err() == nil {
				e.log.Warn("hub: configurations are not carried out; they will be tried again", "hub", h.Name(), "err", err)
			}
		}
		tick, stop := e.clock.After(max(every, 20*e.clock.Now().Sub(began)))
		select {
		case <-tick:
		case <-e.wake:
		case <-ctx.Done():
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (e *Engine) knock() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Create adds a configuration. Faults: Invalid, Conflict (409401), Exhausted when the hub has too many.
func (e *Engine) Create(ctx context.Context, h *hub.Hub, c Configuration) (Configuration, error) {
	if err := c.check(); err != nil {
		return c, err
	}
	c.ETag, c.Created = newETag(), e.clock.Now()
	c.Updated = c.Created
	r, err := c.record(h.ID())
	if err != nil {
		return c, err
	}
	list, err := e.server.Store().Configurations(ctx, h.ID(), "", e.cfg.Most+1)
	if err != nil {
		return c, err
	}
	if len(list) >= e.cfg.Most {
		return c, code.With(fault.Newf("configuration.Create", fault.Exhausted, "the hub has %d configurations, which is its limit", len(list)).
			Advise("delete those nobody needs"), code.QuotaExceeded)
	}
	err = e.server.Store().Write(ctx, func(tx *hubstore.Tx) error { return tx.InsertConfiguration(r) })
	if fault.KindOf(err) == fault.Conflict {
		err = code.With(err, code.ConfigurationExists)
	}
	if err != nil {
		return c, err
	}
	e.knock()
	return fromRecord(r)
}

// Update changes labels, target condition, priority and metrics; the content stays whatever c says (IoT Hub: it cannot be changed).
// ifMatch is the etag or hub.AnyETag. Faults: Invalid, NotFound (404301), Precondition.
func (e *Engine) Update(ctx context.Context, h *hub.Hub, c Configuration, ifMatch string) (Configuration, error) {
	var after hubstore.Configuration
	err := e.server.Store().Write(ctx, func(tx *hubstore.Tx) error {
		old, err := matching(tx, h, c.ID, ifMatch)
		if err != nil {
			return err
		}
		before, err := fromRecord(old)
		if err != nil {
			return err
		}
		c.Content, c.Created, c.Updated, c.ETag = before.Content, before.Created, e.clock.Now(), newETag()
		if err := c.check(); err != nil {
			return err
		}
		if after, err = c.record(h.ID()); err != nil {
			return err
		}
		after.Results = old.Results
		return tx.SetConfiguration(after)
	})
	if err != nil {
		return c, err
	}
	e.knock()
	return fromRecord(after)
}

// Delete removes a configuration; who had it keeps what it wrote.
func (e *Engine) Delete(ctx context.Context, h *hub.Hub, id, ifMatch string) error {
	err := e.server.Store().Write(ctx, func(tx *hubstore.Tx) error {
		if _, err := matching(tx, h, id, ifMatch); err != nil {
			return err
		}
		return tx.DeleteConfiguration(h.ID(), id)
	})
	if err == nil {
		e.knock() // the next one in priority may come on
	}
	return err
}

func matching(tx *hubstore.Tx, h *hub.Hub, id, ifMatch string) (hubstore.Configuration, error) {
	r, err := tx.Configuration(h.ID(), id)
	if err != nil {
		return r, code.With(err, code.ConfigurationNotFound)
	}
	if ifMatch != hub.AnyETag && strings.Trim(ifMatch, `"`) != r.ETag {
		return r, fault.Newf("configuration.Update", fault.Precondition, "configuration %q was changed meanwhile: its etag is another one", id).
			Advise("read it again, then repeat the change with If-Match: \"etag\"")
	}
	return r, nil
}

// Get reads a configuration with its last counts. NotFound (404301) when there is none.
func (e *Engine) Get(ctx context.Context, h *hub.Hub, id string) (Configuration, error) {
	r, err := e.server.Store().Configuration(ctx, h.ID(), id)
	if err != nil {
		return Configuration{}, code.With(err, code.ConfigurationNotFound)
	}
	return fromRecord(r)
}

// List lists configurations by id, at most limit of them, those after an id.
func (e *Engine) List(ctx context.Context, h *hub.Hub, after string, limit int) ([]Configuration, error) {
	list, err := e.server.Store().Configurations(ctx, h.ID(), after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Configuration, len(list))
	for i, r := range list {
		if out[i], err = fromRecord(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// TestQueries says what is wrong with a target condition and with queries of metrics, by their names; nothing when nothing is.
func (e *Engine) TestQueries(target string, metrics map[string]string) (targetError string, metricErrors map[string]string) {
	c := Configuration{Target: target, Content: Content{Device: map[string]json.RawMessage{}}}
	if _, ok := cutFold(strings.TrimSpace(target), "from devices.modules"); ok {
		c.Content = Content{Module: map[string]json.RawMessage{}}
	}
	if _, err := c.condition(); err != nil {
		targetError = fault.Message(err)
	}
	metricErrors = map[string]string{}
	for name, text := range metrics {
		if _, err := query.Parse(text); err != nil {
			metricErrors[name] = fault.Message(err)
		}
	}
	return targetError, metricErrors
}

func newETag() string {
	b := make([]byte, 9)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}
