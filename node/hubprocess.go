package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/configuration"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/forward"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/job"
	"github.com/isthmus-io/isthmus/hub/mqttdoor"
	"github.com/isthmus-io/isthmus/hub/stream"
	"github.com/isthmus-io/isthmus/node/amqpnode"
	"github.com/isthmus-io/isthmus/plan"
)

// hubProcess is the rooms of a process that serves hubs, wherever its plan and its certificates come from.
type hubProcess struct {
	cfg      HubConfig
	mqttOn   []net.Listener
	httpsOn  []net.Listener
	amqpOn   []net.Listener
	plainOn  []net.Listener
	front    *front.Front
	amqp     *amqpnode.Router
	events   *eventlog.Log
	server   *hub.Server
	prov     *provisioners
	spaces   *namespaces
	accounts *accounts
	files    *file.Service
	forwards *forward.Forwarders
	rooms    httpdoor.Config
	mqtt     *mqttdoor.Door
	https    *httpdoor.Door
	closers  []func()
}

func (c HubConfig) withDefaults() HubConfig {
	if len(c.MQTT) == 0 {
		c.MQTT = []string{":8883"}
	}
	if len(c.HTTPS) == 0 {
		c.HTTPS = []string{":443"}
	}
	if c.AMQP == nil {
		c.AMQP = []string{":5671"}
	}
	if c.Log.Retention == (eventlog.Retention{}) {
		c.Log.Retention.Age = DefaultRetention
	}
	if c.Log.Dir == "" {
		c.Log.Dir = filepath.Join(c.DataDir, "events")
	}
	if c.Files.Blobs.Dir == "" {
		c.Files.Blobs.Dir = filepath.Join(c.DataDir, "files")
	}
	return c
}

// openHub opens doors and stores. What it returns has to be closed, after an error too.
func openHub(ctx context.Context, cfg HubConfig, find front.Certificate, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*hubProcess, error) {
	h := &hubProcess{cfg: cfg.withDefaults()}
	cfg = h.cfg
	var err error
	h.mqttOn, err = listenAll(ctx, cfg.MQTT)
	h.later(func() { closeAll(h.mqttOn) })
	if err != nil {
		return h, err
	}
	h.httpsOn, err = listenAll(ctx, cfg.HTTPS)
	h.later(func() { closeAll(h.httpsOn) })
	if err != nil {
		return h, err
	}
	h.amqpOn, err = listenAll(ctx, cfg.AMQP)
	h.later(func() { closeAll(h.amqpOn) })
	if err != nil {
		return h, err
	}
	h.plainOn, err = listenAll(ctx, cfg.amqpPlain)
	h.later(func() { closeAll(h.plainOn) })
	if err != nil {
		return h, err
	}
	if h.events, err = eventlog.Open(cfg.Log, log, clk, reg); err != nil {
		return h, err
	}
	h.later(func() { _ = h.events.Close() }) // its errors were Run's
	if h.server, err = hub.New(ctx, hub.Config{Dir: cfg.DataDir, Database: cfg.Database, Workloads: cfg.workloads.verifier()}, h.events, log, clk, reg); err != nil {
		return h, err
	}
	h.later(func() { _ = h.server.Close() })
	fr := front.New(front.Config{}, h.server, find, log, clk)
	h.front = fr
	if h.prov, err = newProvisioners(ctx, cfg, h.server, log, clk, reg); err != nil {
		return h, err
	}
	h.later(func() { _ = h.prov.server.Close() })
	if h.spaces, err = newNamespaces(ctx, cfg, h.server, h.events, log, clk, reg); err != nil {
		return h, err
	}
	h.later(func() { _ = h.spaces.server.Close() })
	if h.accounts, err = newAccounts(ctx, cfg, h.server, log, clk, reg); err != nil {
		return h, err
	}
	h.later(func() { _ = h.accounts.server.Close() })
	if h.files, err = file.New(ctx, cfg.Files, h.server, log, clk, reg); err != nil {
		return h, err
	}
	h.later(func() { _ = h.files.Close() })
	h.rooms = httpdoor.Config{
		Jobs: job.New(job.Config{Containers: newContainers(h.files, cfg.TransferHosts)}, h.server, log, clk), Configurations: configuration.New(configuration.Config{}, h.server, log, clk),
		Streams: stream.New(stream.Config{Journal: cfg.sessions}, log, clk), Files: h.files, Provisioning: h.prov, Namespaces: h.spaces, Storage: h.accounts,
	}
	h.forwards = forward.New(forward.Config{Bucket: endpointFiles{h.files.Blobs()}}, h.server, log, clk, reg)
	h.mqtt = mqttdoor.New(mqttdoor.Config{Provisioning: h.prov.serveMQTT}, h.server, fr, log, clk)
	h.amqp = newAMQP(h, log, clk, reg)
	h.rooms.WebSocket = map[string]func(context.Context, *front.Conn){
		httpdoor.MQTTOverWebSocket: h.mqtt.Handle, httpdoor.AMQPOverWebSocket: h.amqp.Handle, httpdoor.AMQPOverWebSocket2: h.amqp.Handle,
	}
	h.https = httpdoor.New(h.rooms, h.server, fr, log, clk)
	return h, nil
}

func (h *hubProcess) later(f func()) { h.closers = append(h.closers, f) }

// close closes what was opened, the last first.
func (h *hubProcess) close() {
	for i := len(h.closers) - 1; i >= 0; i-- {
		h.closers[i]()
	}
}

// carryOut makes the process serve these hubs, provisioning services and namespaces. It needs the event log to run.
func (h *hubProcess) carryOut(ctx context.Context, hubs []plan.Hub) error {
	err := errors.Join(h.server.SetHubs(hubs), h.prov.carryOut(ctx, hubs), h.spaces.carryOut(ctx, hubs), h.accounts.carryOut(ctx, hubs))
	h.amqp.Recheck()
	return err
}

// run serves until ctx ends, or until one of the rooms or of more fails. first, if any, is done before the doors open.
func (h *hubProcess) run(ctx context.Context, first func(context.Context) error, more ...func(context.Context) error) error {
	// The log outlives the doors: a message that came in is acknowledged or refused, never forgotten half way.
	logCtx, endLog := context.WithCancel(context.WithoutCancel(ctx))
	defer endLog()
	logEnded := make(chan error, 1)
	go func() { logEnded <- h.events.Run(logCtx) }()
	if first != nil {
		if err := first(ctx); err != nil {
			endLog()
			return errors.Join(err, <-logEnded)
		}
	}

	g, ctx := errgroup.WithContext(ctx)
	for _, run := range append([]func(context.Context) error{
		h.server.Run, h.rooms.Jobs.Run, h.rooms.Streams.Run, h.rooms.Configurations.Run, h.files.Run, h.forwards.Run, h.prov.server.Run, h.spaces.server.Run, h.accounts.server.Run,
		func(ctx context.Context) error {
			return h.https.ServeAdmin(ctx, filepath.Join(h.cfg.DataDir, adminSocket))
		},
	}, more...) {
		g.Go(func() error { return run(ctx) })
	}
	g.Go(func() error {
		select {
		case err := <-logEnded: // before its time: its disk is broken
			logEnded <- nil
			return err
		case <-ctx.Done():
			return nil
		}
	})
	for _, l := range h.mqttOn {
		g.Go(func() error { return h.mqtt.Serve(ctx, l) })
	}
	for _, l := range h.httpsOn {
		g.Go(func() error { return h.https.Serve(ctx, l) })
	}
	for _, l := range h.amqpOn {
		g.Go(func() error { return h.front.Serve(ctx, l, "amqp", h.amqp.Handle) })
	}
	for _, l := range h.plainOn {
		g.Go(func() error { return h.front.ServePlain(ctx, l, "amqp without TLS", h.amqp.HandlePlain) })
	}
	if h.cfg.Serves != nil {
		h.cfg.Serves(h.spaces.server, h.accounts.server)
	}
	if h.cfg.Ready != nil {
		h.cfg.Ready(h.server)
	}
	err := g.Wait()
	endLog()
	return ended(errors.Join(err, <-logEnded))
}
