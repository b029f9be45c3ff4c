package migration

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

// Part is a sort of thing that is brought.
type Part string

const (
	Settings       Part = "settings"
	Authorities    Part = "authorities"
	Identities     Part = "identities"
	Configurations Part = "configurations"
	Routing        Part = "routing"
	Groups         Part = "consumergroups"
	Enrollments    Part = "enrollments"
)

// Parts in the order in which they are brought.
func Parts() []Part {
	return []Part{Settings, Authorities, Identities, Configurations, Routing, Groups, Enrollments}
}

// Hub is where to: hubclient.Client.
type Hub interface {
	Import(ctx context.Context, mode string, trial bool, identities []json.RawMessage) ([]hubclient.Imported, error)
	Configuration(ctx context.Context, id string) (hubclient.Configuration, error)
	CreateConfiguration(ctx context.Context, c hubclient.Configuration) (hubclient.Configuration, error)
	UpdateConfiguration(ctx context.Context, c hubclient.Configuration, ifMatch string) (hubclient.Configuration, error)
	Routing(ctx context.Context) (hubclient.Routing, error)
	PutEndpoint(ctx context.Context, e hubclient.Endpoint) (hubclient.Endpoint, error)
	PutRoute(ctx context.Context, r hubclient.Route) (hubclient.Route, error)
	PutEnrichment(ctx context.Context, e hubclient.Enrichment) (hubclient.Enrichment, error)
	SetFallback(ctx context.Context, on bool) error
	ConsumerGroups(ctx context.Context, endpoint string) ([]hubclient.ConsumerGroup, error)
	CreateConsumerGroup(ctx context.Context, endpoint, name string) (hubclient.ConsumerGroup, error)
	CommandSettings(ctx context.Context) (hubclient.CommandSettings, error)
	SetCommandSettings(ctx context.Context, s hubclient.CommandSettings) (hubclient.CommandSettings, error)
	FileSettings(ctx context.Context) (hubclient.FileSettings, error)
	SetFileSettings(ctx context.Context, s hubclient.FileSettings) (hubclient.FileSettings, error)
	Authorities(ctx context.Context) ([]hubclient.Authority, error)
	AddAuthority(ctx context.Context, name, certificate string, verified bool) (hubclient.Authority, error)
}

// Provisioning is where enrollments go: provisioningclient.Client.
type Provisioning interface {
	Enrollment(ctx context.Context, id string, group bool) (provisioningclient.Enrollment, error)
	PutEnrollment(ctx context.Context, e provisioningclient.Enrollment, ifMatch string) (provisioningclient.Enrollment, error)
	Mechanism(ctx context.Context, id string, group bool) (provisioningclient.Attestation, error)
	Authorities(ctx context.Context) ([]provisioningclient.Authority, error)
	PutAuthority(ctx context.Context, name, certificate string, verified bool, ifMatch string) (provisioningclient.Authority, error)
}

// Config says how. Its zero value creates what is missing, of all parts.
type Config struct {
	Mode  string // hubclient.ImportCreate and so on; ImportCreate when empty
	Trial bool   // tells what would be done, and changes nothing
	Only  []Part // nil for all
	// Provisioning, which may be nil, takes the enrollments and their authorities; without it they fail.
	Provisioning func() (Provisioning, error)
	// Failed, which may be nil, is told of everything that fails.
	Failed func(Failure) error
	// Progress, which may be nil, is told how many of how many things of a part are done.
	Progress func(part Part, done, of int)
}

// Failure is something that was not brought.
type Failure struct {
	Part Part
	Name string
	Err  error
}

// Outcome counts what became of the things of one part.
type Outcome struct {
	Created int `json:"created"`
	Changed int `json:"changed"`
	Same    int `json:"same"`              // there already, as it is to be
	Kept    int `json:"kept"`              // there already, differs, and was left alone
	Absent  int `json:"absent"`            // not there, and the mode makes none
	Failed  int `json:"failed"`            //
	NewKeys int `json:"newKeys,omitempty"` // of those created, the ones whose keys were made here
}

// Result is the outcome by part; parts of which there was nothing are not in it.
type Result map[Part]Outcome

// Failed returns how many things failed.
func (r Result) Failed() int {
	n := 0
	for _, o := range r {
		n += o.Failed
	}
	return n
}

// run is a migration under way.
type run struct {
	*Plan
	Config
	hub     Hub
	clock   clock.Clock
	result  Result
	done    int
	seed    maphash.Seed
	made    map[uint64]bool // identities created by this run, by a hash of the name, when they may be met again
	tried   map[string]bool // what a trial would have made or set by now, but for identities
	service Provisioning
}

// Run brings everything that was shown. The result counts what was done until an error, after which more may be left to do.
func (p *Plan) Run(ctx context.Context, cfg Config, hub Hub, clk clock.Clock) (Result, error) {
	if cfg.Mode == "" {
		cfg.Mode = hubclient.ImportCreate
	}
	r := &run{Plan: p, Config: cfg, hub: hub, clock: clk, result: Result{}, seed: maphash.MakeSeed(), made: map[uint64]bool{}, tried: map[string]bool{}}
	for _, step := range []struct {
		part Part
		do   func(context.Context) error
	}{
		{Settings, r.bringSettings}, {Authorities, r.bringAuthorities}, {Identities, r.bringIdentities}, {Configurations, r.bringConfigurations},
		{Routing, r.bringRouting}, {Groups, r.bringGroups}, {Enrollments, r.bringEnrollments},
	} {
		if len(cfg.Only) > 0 && !slices.Contains(cfg.Only, step.part) {
			continue
		}
		if err := step.do(ctx); err != nil {
			return r.result, err
		}
	}
	for _, w := range p.wrong {
		if err := r.failed(Identities, w.name, w.err); err != nil {
			return r.result, err
		}
	}
	if p.left > 0 {
		o := r.result[Identities]
		o.Failed += p.left
		r.result[Identities] = o
	}
	return r.result, nil
}

// overwrites tells whether what is there may be changed, creates whether what is not there may be made.
func (r *run) overwrites() bool { return r.Mode != hubclient.ImportCreate }
func (r *run) creates() bool    { return r.Mode != hubclient.ImportUpdate }

func (r *run) count(part Part, change func(*Outcome)) {
	o := r.result[part]
	change(&o)
	r.result[part] = o
}

func (r *run) failed(part Part, name string, err error) error {
	r.count(part, func(o *Outcome) { o.Failed++ })
	if r.Failed == nil {
		return nil
	}
	return r.Failed(Failure{part, name, err})
}

func (r *run) tell(part Part, done, of int) {
	if r.Progress != nil {
		r.Progress(part, done, of)
	}
}

// fatal tells whether an error is not about the one thing, so that the next one would have it too. Exhausted is about one: there are as many
// as there may be of its sort.
func fatal(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.Precondition, fault.TooLarge, fault.Exhausted:
		return false
	case fault.Unauthenticated, fault.Denied, fault.Expired, fault.Unavailable, fault.Timeout, fault.Internal:
	}
	return err != nil
}

// state is how a thing is found.
type state struct {
	there, same bool
	change      func(context.Context) error // makes it, or changes it
}

// settle brings one thing, of which look tells how it is found.
func (r *run) settle(ctx context.Context, part Part, name string, look func(context.Context) (state, error)) error {
	s, err := look(ctx)
	if err == nil {
		switch {
		case s.there && s.same, r.tried[string(part)+" "+name]:
			r.count(part, func(o *Outcome) { o.Same++ })
			return nil
		case s.there && !r.overwrites() && part != Settings:
			r.count(part, func(o *Outcome) { o.Kept++ })
			return nil
		case !s.there && !r.creates():
			r.count(part, func(o *Outcome) { o.Absent++ })
			return nil
		case !r.Trial:
			err = r.patiently(ctx, func() error { return s.change(ctx) })
		}
	}
	switch {
	case fatal(err):
		return err
	case err != nil:
		return r.failed(part, name, err)
	case s.there:
		r.count(part, func(o *Outcome) { o.Changed++ })
	default:
		r.count(part, func(o *Outcome) { o.Created++ })
	}
	if r.Trial {
		r.tried[string(part)+" "+name] = true
	}
	return nil
}

const (
	patience  = 5 // attempts while nobody answers
	firstWait = 200 * time.Millisecond
	mostWait  = 5 * time.Second
)

// patiently does something again while the hub asks for it, and a few times while it does not answer: a restart is not the end. Doing
// anything here twice is no harm.
func (r *run) patiently(ctx context.Context, do func() error) error {
	b := backoff.Backoff{Base: firstWait, Max: mostWait}
	for n := 1; ; n++ {
		err := do()
		kind := fault.KindOf(err)
		throttled := err != nil && code.Of(err) == code.Throttled
		if err == nil || !throttled && (kind != fault.Unavailable && kind != fault.Timeout || n == patience) {
			return err
		}
		if !b.Wait(ctx, r.clock) {
			return err
		}
	}
}
