package node

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/configuration"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/forward"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/job"
	"github.com/isthmus-io/isthmus/hub/mqttdoor"
	"github.com/isthmus-io/isthmus/hub/stream"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/plan"
)

// HubConfig is one process that serves the hubs of its plan.
type HubConfig struct {
	DataDir string
	MQTT    []string // host:port of MQTT over TLS; :8883 when empty
	HTTPS   []string // host:port of HTTPS; :443 when empty
	Servers []string
	Proxy   string
	Version string
	Log     eventlog.Config // Dir is DataDir/events when empty
	Files   file.Config     // Blobs.Dir is DataDir/files when empty
	// Ready is called once the doors are open.
	Ready func(*hub.Server)
}

// DefaultRetention is how long a hub keeps events unless told otherwise (IoT Hub: retention time, 1 to 7 days).
const DefaultRetention = 7 * 24 * time.Hour

// adminSocket is where the hub's API answers without a token, to whoever may open the file.
const adminSocket = "admin.sock"

// Hub runs a hub process that has joined.
func Hub(ctx context.Context, cfg HubConfig, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) error {
	if len(cfg.MQTT) == 0 {
		cfg.MQTT = []string{":8883"}
	}
	if len(cfg.HTTPS) == 0 {
		cfg.HTTPS = []string{":443"}
	}
	if cfg.Log.Retention == (eventlog.Retention{}) {
		cfg.Log.Retention.Age = DefaultRetention
	}
	if cfg.Log.Dir == "" {
		cfg.Log.Dir = filepath.Join(cfg.DataDir, "events")
	}
	if cfg.Files.Blobs.Dir == "" {
		cfg.Files.Blobs.Dir = filepath.Join(cfg.DataDir, "files")
	}
	m, err := membership.Open(membership.Config{Dir: cfg.DataDir, Proxy: cfg.Proxy, Servers: cfg.Servers, Version: cfg.Version}, log, clk)
	if err != nil {
		return err
	}
	forMQTT, err := listenAll(ctx, cfg.MQTT)
	defer closeAll(forMQTT)
	if err != nil {
		return err
	}
	forHTTPS, err := listenAll(ctx, cfg.HTTPS)
	defer closeAll(forHTTPS)
	if err != nil {
		return err
	}
	events, err := eventlog.Open(cfg.Log, log, clk, reg)
	if err != nil {
		return err
	}
	defer func() { _ = events.Close() }() // its errors were Run's
	server, err := hub.New(ctx, hub.Config{Dir: cfg.DataDir}, events, log, clk, reg)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	certs := &certificates{member: m, log: log, clock: clk, byHost: map[string]getter{}}
	fr := front.New(front.Config{}, server, certs.find, log, clk)
	prov, err := newProvisioners(ctx, cfg, server, log, clk, reg)
	if err != nil {
		return err
	}
	defer func() { _ = prov.server.Close() }()
	files, err := file.New(ctx, cfg.Files, server, log, clk, reg)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	rooms := httpdoor.Config{
		Jobs: job.New(job.Config{}, server, log, clk), Configurations: configuration.New(configuration.Config{}, server, log, clk), Files: files, Provisioning: prov,
		Streams: stream.New(stream.Config{}, log, clk),
	}
	endpoints := forward.New(forward.Config{Bucket: endpointFiles{files.Blobs()}}, server, log, clk, reg)
	mqtt := mqttdoor.New(mqttdoor.Config{Provisioning: prov.serveMQTT}, server, fr, log, clk)
	rooms.WebSocket = map[string]func(context.Context, *front.Conn){httpdoor.MQTTOverWebSocket: mqtt.Handle}
	https := httpdoor.New(rooms, server, fr, log, clk)

	m.Report(func() membership.Report {
		return membership.Report{Version: cfg.Version, Problems: certs.problems()}
	})
	// The log outlives the doors: a message that came in is acknowledged or refused, never forgotten half way.
	logCtx, endLog := context.WithCancel(context.WithoutCancel(ctx))
	defer endLog()
	logEnded := make(chan error, 1)
	go func() { logEnded <- events.Run(logCtx) }()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return rooms.Jobs.Run(ctx) })
	g.Go(func() error { return rooms.Streams.Run(ctx) })
	g.Go(func() error { return rooms.Configurations.Run(ctx) })
	g.Go(func() error { return files.Run(ctx) })
	g.Go(func() error { return endpoints.Run(ctx) })
	g.Go(func() error { return prov.server.Run(ctx) })
	g.Go(func() error { return https.ServeAdmin(ctx, filepath.Join(cfg.DataDir, adminSocket)) })
	g.Go(func() error { return follow(ctx, m, server, prov, certs, log) })
	g.Go(func() error {
		select {
		case err := <-logEnded: // before its time: its disk is broken
			logEnded <- nil
			return err
		case <-ctx.Done():
			return nil
		}
	})
	for _, l := range forMQTT {
		g.Go(func() error { return mqtt.Serve(ctx, l) })
	}
	for _, l := range forHTTPS {
		g.Go(func() error { return https.Serve(ctx, l) })
	}
	log.Info("the hub is ready", "id", string(m.Credentials().ID()), "mqtt", strings.Join(cfg.MQTT, " "), "https", strings.Join(cfg.HTTPS, " "))
	if cfg.Ready != nil {
		cfg.Ready(server)
	}
	err = g.Wait()
	endLog()
	return ended(errors.Join(err, <-logEnded))
}

// follow carries out plans: hubs first, so that their links are known, then their certificates, which may have to be asked for.
func follow(ctx context.Context, m *membership.Member, server *hub.Server, prov *provisioners, certs *certificates, log *slog.Logger) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() { certs.keepAsking(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-m.Updates():
			if err := errors.Join(server.SetHubs(p.Hubs), prov.carryOut(ctx, p.Hubs)); err != nil {
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
