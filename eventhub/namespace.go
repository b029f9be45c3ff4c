package eventhub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/eventhubstore"
)

// Namespace is one namespace of a server.
type Namespace struct {
	server *Server
	id     string
	spec   atomic.Pointer[Spec]
	state  atomic.Pointer[state] // replaced whole, never changed

	changing sync.Mutex // held while the state changes, in the store and here

	over    atomic.Bool // it is not served any more
	mu      sync.Mutex  // guards the field below
	renewed chan struct{}
}

var _ Directory = (*Namespace)(nil)

// state is what a namespace has at one moment. Nothing in it changes.
type state struct {
	number   int64 // 1, 2, 3, …
	hubs     map[string]*eventHub
	policies map[string]eventhubstore.Policy
}

// eventHub is one event hub at one moment.
type eventHub struct {
	eventhubstore.EventHub
	policies map[string]eventhubstore.Policy
	groups   map[string]eventhubstore.Group
	life     *life // nil while it is disabled
}

// life is the time between an event hub's being made or enabled, and its being disabled or deleted.
type life struct {
	gone chan struct{}
	once sync.Once
	// appending is held shared from the look at gone until the log has the events: none of them comes into a later stream of the name.
	appending sync.RWMutex
}

func newLife() *life { return &life{gone: make(chan struct{})} }

// end returns when nobody appends any more.
func (l *life) end() {
	if l == nil {
		return
	}
	l.once.Do(func() { close(l.gone) })
	l.appending.Lock()
	defer l.appending.Unlock()
}

func (s *Server) open(ctx context.Context, spec Spec) (*Namespace, error) {
	if spec.ID == "" || len(spec.HostNames) == 0 {
		return nil, fault.Newf("eventhub.SetNamespaces", fault.Invalid, "namespace %q has no id or no host name in the plan", spec.Name).
			Advise("give its service a spec.hostName")
	}
	row, err := s.store.Ensure(ctx, eventhubstore.Namespace{ID: spec.ID, Created: s.clock.Now(), Policies: []eventhubstore.Policy{rootPolicy()}})
	if err != nil {
		return nil, err
	}
	n := &Namespace{server: s, id: spec.ID, renewed: make(chan struct{})}
	n.setSpec(spec)
	now := &state{number: 1, hubs: map[string]*eventHub{}, policies: map[string]eventhubstore.Policy{}}
	for _, h := range row.Hubs {
		e := &eventHub{EventHub: h, policies: map[string]eventhubstore.Policy{}, groups: map[string]eventhubstore.Group{}}
		if !h.Disabled {
			e.life = newLife()
		}
		now.hubs[h.Key] = e
	}
	for _, p := range row.Policies {
		if p.Hub == "" {
			now.policies[p.Key] = p
		} else if h := now.hubs[p.Hub]; h != nil {
			h.policies[p.Key] = p
		}
	}
	for _, g := range row.Groups {
		if h := now.hubs[g.Hub]; h != nil {
			h.groups[g.Key] = g
		}
	}
	n.state.Store(now)
	return n, n.mend(ctx, row.Hubs)
}

// mend makes the log fit the store, where a crash came between the two: streams of deleted event hubs go, and every event hub has one.
func (n *Namespace) mend(ctx context.Context, hubs []eventhubstore.EventHub) error {
	known := map[string]bool{}
	for _, h := range hubs {
		known[n.stream(h.Key)] = true
	}
	var all errgroup.Group
	all.SetLimit(streamsAtOnce)
	for _, name := range n.server.events.Streams() {
		if strings.HasPrefix(name, n.stream("")) && !known[name] {
			all.Go(func() error { return n.server.events.DeleteStream(ctx, name) })
		}
	}
	for _, h := range hubs {
		all.Go(func() error { return n.ensureStream(ctx, h) })
	}
	return all.Wait()
}

// streamsAtOnce is how many streams are made at once; the log writes them down together.
const streamsAtOnce = 64

// ensureStream makes the stream of an event hub, if it is not there, and has it keep what the event hub keeps.
func (n *Namespace) ensureStream(ctx context.Context, h eventhubstore.EventHub) error {
	name, keep := n.stream(h.Key), retentionOf(h)
	if err := n.server.events.CreateStream(ctx, name, eventlog.StreamOptions{Partitions: h.Partitions, Hash: "lookup3", Retention: keep}); err != nil {
		return err
	}
	return n.server.events.SetRetention(ctx, name, keep)
}

func retentionOf(h eventhubstore.EventHub) eventlog.Retention {
	keep := eventlog.Retention{Age: h.Age, Bytes: h.Bytes}
	if keep.Age == 0 {
		keep.Age = -1 // for ever
	}
	return keep
}

// stream is the name of an event hub's stream in the log; of the empty key, what all of them begin with. A name of a stream is no longer
// than that of an event hub, so the longest are told apart by a hash.
func (n *Namespace) stream(key string) string {
	name := "eventhub/" + n.id + "/" + key
	if len(name) <= eventlog.MaxNameBytes {
		return name
	}
	sum := sha256.Sum256([]byte(key))
	return name[:eventlog.MaxNameBytes-33] + "~" + hex.EncodeToString(sum[:16])
}

func (n *Namespace) setSpec(spec Spec) {
	spec.HostNames = slices.Clone(spec.HostNames)
	for i, h := range spec.HostNames {
		spec.HostNames[i] = strings.ToLower(h)
	}
	before := n.spec.Swap(&spec)
	if before == nil || len(before.Assignments)+len(spec.Assignments) == 0 && before.KeysOff == spec.KeysOff {
		return // agents that were removed matter only where workloads have roles
	}
	n.renew()
}

// renew tells everybody that a claim may have become worthless.
func (n *Namespace) renew() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.renewed)
	n.renewed = make(chan struct{})
}

// end tells everybody that the namespace is no longer served.
func (n *Namespace) end() {
	n.changing.Lock()
	defer n.changing.Unlock()
	for _, h := range n.state.Load().hubs {
		h.life.end()
	}
	n.over.Store(true)
	n.renew()
}

// ID returns the uid of the namespace.
func (n *Namespace) ID() string { return n.id }

// Name returns the namespace's full name, such as "ot/ot-cloud/lake".
func (n *Namespace) Name() string { return n.spec.Load().Name }

// HostNames returns every name it answers to, in lower case, the public one first. Do not change the slice.
func (n *Namespace) HostNames() []string { return n.spec.Load().HostNames }

// HostName returns its public name.
func (n *Namespace) HostName() string { return n.HostNames()[0] }

// Renewed returns a channel that is closed when a claim may have become worthless: when policies, event hubs or roles of workloads change
// next, or the namespace is no longer served. Whoever was let in by a claim asks its Valid then.
func (n *Namespace) Renewed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.renewed
}

// change has fn change a copy of the state, and the store with it; both or neither. The caller holds changing.
func (n *Namespace) change(ctx context.Context, fn func(tx *eventhubstore.Tx, next *state) error) error {
	if n.over.Load() {
		return fault.Newf("eventhub.change", fault.Unavailable, "the namespace %s is not served any more", n.Name())
	}
	now := n.state.Load()
	next := &state{now.number + 1, maps.Clone(now.hubs), maps.Clone(now.policies)}
	if err := n.server.store.Write(ctx, func(tx *eventhubstore.Tx) error { return fn(tx, next) }); err != nil {
		return err
	}
	n.state.Store(next)
	n.renew()
	return nil
}

// edit puts a copy of an event hub in its place, to be changed before anybody sees it.
func (s *state) edit(h *eventHub) *eventHub {
	e := &eventHub{h.EventHub, maps.Clone(h.policies), maps.Clone(h.groups), h.life}
	s.hubs[h.Key] = e
	return e
}

// find returns an event hub by its name, in any case.
func (n *Namespace) find(op, name string) (*eventHub, error) {
	if h := n.state.Load().hubs[strings.ToLower(name)]; h != nil {
		return h, nil
	}
	return nil, noEntity(op, name)
}

// Entity implements Directory.
func (n *Namespace) Entity(_ context.Context, name string) (Entity, error) {
	h, err := n.find("eventhub.Entity", name)
	if err != nil {
		return nil, err
	}
	if h.life == nil {
		return nil, disabled("eventhub.Entity", h.Name)
	}
	return &entity{n, n.server.events, n.stream(h.Key), h.Key, h.Name, h.Created, h.Partitions, h.life}, nil
}

func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
