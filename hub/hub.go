package hub

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Hub is one hub of a server.
type Hub struct {
	server   *Server
	id       string
	stream   string // its name in the event log
	plan     atomic.Pointer[plan.Hub]
	policies atomic.Pointer[map[string]hubstore.Policy] // the map is replaced, never changed
	trusted  atomic.Pointer[authorities]                // replaced, never changed
	renewing sync.Mutex                                 // held while the keys of a policy, or the authorities, change
	gone     atomic.Bool                                // left the plan

	messages atomic.Int64
	bytes    atomic.Int64
	rate     atomic.Uint64 // float64 bits, messages a second

	reports   reports
	commands  commands
	calls     calls
	eventKeys atomic.Int64 // the last sequence number of a connection event

	limits     *limit.Hub
	routing    atomic.Pointer[routing] // nil while every message of a device goes to the built-in endpoint, and nothing else anywhere
	settling   sync.Mutex              // held while routes, endpoints, enrichments, limits or settings change
	counters   sync.Map                // endpoint to *atomic.Int64: messages routed there
	unrouted   atomic.Int64            // messages that no route took
	lostEvents atomic.Int64            // of Emit, which the event log had no room for
	departures departures
	endpoints  atomic.Pointer[[]Endpoint] // replaced, never changed
	progress   sync.Map                   // endpoint to Progress
	ends       streamEnds
	created    atomic.Pointer[time.Time] // see Created

	mu       sync.Mutex // guards the fields below
	sessions map[Name]*Session
	seen     map[Name]hubstore.Seen // not written down yet
	written  time.Time              // when seen was last taken away to be written
	renewed  chan struct{}          // closed, and made anew, when the keys of a policy change
	measured struct {
		at       time.Time
		messages int64
	}
}

func (s *Server) open(ctx context.Context, p plan.Hub) (*Hub, error) {
	if p.ID == "" || len(p.HostNames) == 0 {
		return nil, fault.Newf("hub.SetHubs", fault.Invalid, "hub %q has no id or no host name in the plan", p.Name).
			Advise("give its service a spec.hostName")
	}
	h := &Hub{server: s, id: p.ID, stream: "hub/" + p.ID, sessions: map[Name]*Session{}, seen: map[Name]hubstore.Seen{}, renewed: make(chan struct{})}
	h.reports.room.L = &h.reports.mu
	h.calls.last.Store(rand.Uint32()) //nolint:gosec // no secret; it only has to differ from what an earlier process gave out
	policies := builtInPolicies()
	if p.Type != "" && p.Type != resource.TypeIoTHub {
		policies = nil // the others have their own, or none
	}
	list, err := s.store.EnsurePolicies(ctx, p.ID, policies)
	if err != nil {
		return nil, err
	}
	h.setPolicies(list)
	if err := h.loadAuthorities(ctx); err != nil {
		return nil, err
	}
	if err := s.store.Write(ctx, func(tx *hubstore.Tx) error { return tx.NobodyConnected(p.ID) }); err != nil {
		return nil, err
	}
	if err := h.openCommands(ctx); err != nil {
		return nil, err
	}
	if err := h.openLimits(ctx, p.Name); err != nil {
		return nil, err
	}
	h.setPlan(p)
	if h.Type() == resource.TypeIoTHub {
		if _, err := h.Created(ctx); err != nil {
			return nil, err
		}
	}
	return h, h.loadRouting(ctx)
}

// setPlan has the hub be as its plan says from now on.
func (h *Hub) setPlan(p plan.Hub) {
	p.HostNames = slices.Clone(p.HostNames)
	for i, n := range p.HostNames {
		p.HostNames[i] = strings.ToLower(n)
	}
	h.follow(h.plan.Swap(&p), &p)
}

// ID returns the uid of the hub's service.
func (h *Hub) ID() string { return h.id }

// Name returns the hub's full name, such as "ot/ot-cloud/contoso".
func (h *Hub) Name() string { return h.plan.Load().Name }

// HostNames returns every name it answers to, in lower case, the public one first. Do not change the slice.
func (h *Hub) HostNames() []string { return h.plan.Load().HostNames }

// HostName returns its public name.
func (h *Hub) HostName() string { return h.HostNames()[0] }

// Public tells whether a peer that came through no endpoint may use the hub.
func (h *Hub) Public() bool { return h.plan.Load().Public != resource.PublicDisabled }

// Stats is what a hub does now.
type Stats struct {
	Hub       string  `json:"hub"`
	HostName  string  `json:"hostName"`
	Connected int     `json:"connected"`
	Messages  int64   `json:"messages"` // made durable since the process started
	Bytes     int64   `json:"bytes"`    // of their bodies
	PerSecond float64 `json:"perSecond"`
}

// Stats returns what the hub does now. Rates are of the last second and need Run.
func (h *Hub) Stats() Stats {
	return Stats{
		Hub: h.Name(), HostName: h.HostName(), Connected: h.Connected(),
		Messages: h.messages.Load(), Bytes: h.bytes.Load(), PerSecond: math.Float64frombits(h.rate.Load()),
	}
}

// Connected returns how many devices have a session.
func (h *Hub) Connected() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

func (h *Hub) measure() {
	now, n := h.server.clock.Now(), h.messages.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := now.Sub(h.measured.at).Seconds(); d > 0 && !h.measured.at.IsZero() {
		h.rate.Store(math.Float64bits(float64(n-h.measured.messages) / d))
	}
	h.measured.at, h.measured.messages = now, n
}

// DeviceConnectionString returns what a person gives to a device's SDK. It holds the device's key.
func (h *Hub) DeviceConnectionString(ctx context.Context, device string) (string, error) {
	d, err := h.Device(ctx, device)
	if err != nil {
		return "", err
	}
	if d.AuthType != AuthSAS {
		return "", fault.Newf("hub.DeviceConnectionString", fault.Invalid, "device %q does not use a shared access key", device)
	}
	return sas.ConnectionString{HostName: h.HostName(), DeviceID: d.ID, Key: d.PrimaryKey}.String(), nil
}

// Type is iothub, dps for a provisioning service, eventhubs for a namespace of event hubs, or blob for a blob service: these have a name and sides as a hub does,
// and policies of their own, and no devices.
func (h *Hub) Type() resource.ServiceType { return cmp.Or(h.plan.Load().Type, resource.TypeIoTHub) }

// Provisioning tells whether this is no hub but a provisioning service.
func (h *Hub) Provisioning() bool { return h.Type() == resource.TypeDPS }

// Namespace tells whether this is no hub but a namespace of event hubs.
func (h *Hub) Namespace() bool { return h.Type() == resource.TypeEventHubs }

// Storage tells whether this is no hub but a blob service.
func (h *Hub) Storage() bool { return h.Type() == resource.TypeBlob }

// PolicyConnectionString returns what a person gives to a service's SDK. It holds the policy's primary key.
func (h *Hub) PolicyConnectionString(policy string) (string, error) {
	return h.PolicyConnectionStringWith(policy, Primary)
}

// PolicyConnectionStringWith is PolicyConnectionString with one of the two keys.
func (h *Hub) PolicyConnectionStringWith(policy string, key Which) (string, error) {
	p, ok := (*h.policies.Load())[policy]
	if !ok {
		return "", noPolicy("hub.PolicyConnectionString", policy)
	}
	out := sas.ConnectionString{HostName: h.HostName(), Policy: p.Name, Key: p.PrimaryKey}
	switch key {
	case Primary:
	case Secondary:
		out.Key = p.SecondaryKey
	default:
		return "", fault.Newf("hub.PolicyConnectionString", fault.Invalid, "%.20q is no key of a policy", key).Advise("it is primary or secondary")
	}
	return out.String(), nil
}

// Partitions returns how many partitions the hub's events have. It makes them when no device has sent anything yet, and waits for the
// event log to do so.
func (h *Hub) Partitions(ctx context.Context) (int, error) {
	log := h.server.events
	if n := log.Partitions(h.stream); n > 0 {
		return n, nil
	}
	err := log.Create(ctx, h.stream, 0)
	if fault.KindOf(err) == fault.Conflict { // a device was faster
		err = nil
	}
	return log.Partitions(h.stream), err
}

// Bounds returns the oldest sequence number kept in a partition and the next one to be given; both 0 when there is no such partition.
func (h *Hub) Bounds(partition int) (first, next int64) {
	return h.server.events.Bounds(h.stream, partition)
}

// Events returns up to max events of a partition beginning with sequence number from; none when there are none yet. NotFound when
// there is no such partition: see Partitions.
func (h *Hub) Events(ctx context.Context, partition int, from int64, max int) ([]eventlog.Event, error) {
	return h.server.events.Read(ctx, h.stream, partition, from, max)
}

// WaitEvent returns when the partition has the event with sequence number from, or when ctx ends.
func (h *Hub) WaitEvent(ctx context.Context, partition int, from int64) error {
	return h.server.events.Wait(ctx, h.stream, partition, from)
}
