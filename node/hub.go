package node

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/bearer"
	"github.com/isthmus-io/isthmus/eventlog"
	eventdoor "github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/stream"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/node/accessnode"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// HubConfig is one process that serves the hubs of its plan.
type HubConfig struct {
	DataDir string
	MQTT    []string // host:port of MQTT over TLS; :8883 when empty
	HTTPS   []string // host:port of HTTPS; :443 when empty
	AMQP    []string // host:port of AMQP over TLS; :5671 when nil, nowhere when empty
	// Database keeps devices and enrollments, postgres://...; SQLite in DataDir when empty. Events are in DataDir all the same.
	Database string
	Servers  []string
	Proxy    string
	Version  string
	Log      eventlog.Config // Dir is DataDir/events when empty
	Files    file.Config     // Blobs.Dir is DataDir/files when empty
	Storage  storage.Config  // of blob services; Dir, Database and Workloads are those of the process
	// Engine bounds connections of AMQP, EventDoor what is spoken of event hubs on them.
	Engine    engine.Config
	EventDoor eventdoor.Config
	// Tokens says whose access tokens open namespaces of event hubs; nobody's when it has no Issuer.
	Tokens bearer.Config
	// TransferHosts are those whose blob containers import and export jobs may reach, beside the hub's own; *.name is every host below.
	TransferHosts []string
	// DevicePort is where devices find the HTTPS door, when that is not the port it listens on; they are told it with a stream's address.
	DevicePort int
	// Ready is called once the doors are open, and Serves with what else is behind them.
	Ready  func(*hub.Server)
	Serves func(*eventhub.Server, *storage.Server)

	sessions  stream.Journal // nil: nobody is told of device streams
	workloads *workloads     // nil: none counts
	local
}

// local is what only a hub process for one machine has.
type local struct {
	amqpPlain []string // host:port of AMQP without TLS
	aliases   []string // of the namespace of event hubs
	testToken string   // stands for every right in it
}

// DefaultRetention is how long a hub keeps events unless told otherwise (IoT Hub: retention time, 1 to 7 days).
const DefaultRetention = 7 * 24 * time.Hour

// adminSocket is where the hub's API answers without a token, to whoever may open the file.
const adminSocket = "admin.sock"

// Hub runs a hub process that has joined.
func Hub(ctx context.Context, cfg HubConfig, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) error {
	m, err := membership.Open(membership.Config{Dir: cfg.DataDir, Proxy: cfg.Proxy, Servers: cfg.Servers, Version: cfg.Version}, log, clk)
	if err != nil {
		return err
	}
	access, err := accessnode.Open(cfg.DataDir, m, log, clk)
	if err != nil {
		return err
	}
	defer func() { _ = access.Close() }() // after the doors, whose streams end with them
	cfg.sessions = access.Journal()
	cfg.workloads = newWorkloads(m.Credentials().Roots, clk)
	certs := &certificates{member: m, log: log, clock: clk, byHost: map[string]getter{}}
	h, err := openHub(ctx, cfg, certs.find, log, clk, reg)
	defer h.close()
	if err != nil {
		return err
	}
	people := newHubPeople(cfg, m.Credentials(), h, access, log, clk, reg)
	m.Report(func() membership.Report {
		return membership.Report{Version: cfg.Version, Problems: slices.Concat(certs.problems(), people.problems())}
	})
	log.Info("the hub is ready", "id", string(m.Credentials().ID()), "mqtt", strings.Join(h.cfg.MQTT, " "), "https", strings.Join(h.cfg.HTTPS, " "), "amqp", strings.Join(h.cfg.AMQP, " "))
	return h.run(ctx, nil, m.Run, people.run, func(ctx context.Context) error { return follow(ctx, m, h, people, certs, log) })
}

// follow carries out plans: first what nobody may any more, then hubs, so that their links are known, then their certificates, which may
// have to be asked for.
func follow(ctx context.Context, m *membership.Member, h *hubProcess, people *hubPeople, certs *certificates, log *slog.Logger) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() { certs.keepAsking(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-m.Updates():
			people.carryOut(p)
			h.cfg.workloads.carryOut(p)
			if err := h.carryOut(ctx, p.Hubs); err != nil {
				log.Error("a plan could not be carried out", "revision", p.Revision, "error", err)
			}
			certs.want(p.Hubs)
			log.Info("serving hubs", "revision", p.Revision, "hubs", len(p.Hubs))
		}
	}
}

type getter = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// certificates holds what the hubs of the plan show to devices.
type certificates struct {
	member *membership.Member
	log    *slog.Logger
	clock  clock.Clock

	mu      sync.Mutex // guards the fields below
	byHost  map[string]getter
	missing []plan.Hub
	wake    chan struct{}
	words   string
}

func (c *certificates) find(host string) (*tls.Certificate, error) {
	c.mu.Lock()
	get := c.byHost[strings.ToLower(host)]
	c.mu.Unlock()
	if get == nil {
		return nil, fault.Newf("node.certificate", fault.Unavailable, "there is no certificate for %s yet", host).
			Advise("the hub asks the control plane for it: is that reachable?")
	}
	return get(nil)
}

func (c *certificates) problems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.words == "" {
		return nil
	}
	return []string{c.words}
}

// want notes which hubs need a certificate and wakes keepAsking.
func (c *certificates) want(hubs []plan.Hub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missing = hubs
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// keepAsking gets each certificate from the disk or the control plane, again and again with a growing pause until it has it.
func (c *certificates) keepAsking(ctx context.Context) {
	pause := backoff.Backoff{Base: 2 * time.Second, Max: time.Minute}
	for ctx.Err() == nil {
		c.mu.Lock()
		todo := c.missing
		wake := make(chan struct{})
		c.wake = wake
		c.mu.Unlock()
		var left []plan.Hub
		words := ""
		for _, h := range todo {
			get, err := c.member.ServingCertificate(ctx, h.HostNames)
			if err != nil {
				left = append(left, h)
				words = "no certificate for " + h.HostNames[0] + ": " + fault.Message(err)
				c.log.Warn("no certificate yet", "hub", h.Name, "error", err)
				continue
			}
			c.mu.Lock()
			for _, host := range h.HostNames {
				c.byHost[strings.ToLower(host)] = get
			}
			c.mu.Unlock()
		}
		c.mu.Lock()
		if c.wake != nil { // nobody wanted others meanwhile
			c.missing = left
		}
		c.words = words
		c.mu.Unlock()
		var again <-chan time.Time
		stop := func() {}
		if len(left) > 0 {
			again, stop = c.clock.After(pause.Next())
		} else {
			pause.Reset()
		}
		select {
		case <-ctx.Done():
		case <-wake:
			pause.Reset()
		case <-again:
		}
		stop()
	}
}
