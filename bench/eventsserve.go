package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/resource"
)

const eventsHost = "bench.servicebus.windows.net"

// eventPartitions is what event hubs have here, and Azure's have unless told otherwise.
const eventPartitions = 4

// eventOffer is what a serving half of the event suite says once it is there. The keys in it open what lives as long as the run.
type eventOffer struct {
	AMQP, Plain, MQTT string
	CA                string
	Policy, Key       string // of the namespace
	HubPolicy, HubKey string // of the hub
	Builtin           string // the built-in endpoint's name
}

// serveEvents is a hub process with a hub and a namespace with the event hubs named, as a developer's machine has it. It ends with its standard input.
func serveEvents(dir string, hubs []string) error {
	stop, err := profile("")
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var addr [4]string
	for i := range addr {
		if addr[i], err = freePort(); err != nil {
			return err
		}
	}
	cfg := node.LocalHubConfig{
		HubConfig: node.HubConfig{
			DataDir: dir, MQTT: addr[:1], HTTPS: addr[1:2], AMQP: addr[2:3],
			EventDoor: amqpdoor.Config{Readers: eventConnections * eventLinks}, // of one consumer group, where Event Hubs has five
		},
		Hosts: []string{hubHost}, NamespaceHosts: []string{eventsHost}, PlainAMQP: addr[3:],
	}
	for _, t := range hubs {
		cfg.EventHubs = append(cfg.EventHubs, resource.EventHub{Name: t, Partitions: eventPartitions})
	}
	cfg.Ready = func(s node.LocalServices) {
		o := eventOffer{MQTT: addr[0], AMQP: addr[2], Plain: addr[3], CA: s.AuthorityFile, Builtin: builtin.EntityName(s.Hub)}
		if err := o.keys(ctx, s); err != nil {
			fmt.Fprintln(os.Stderr, err)
			cancel()
			return
		}
		_ = json.NewEncoder(os.Stdout).Encode(o)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return node.LocalHub(ctx, cfg, log, clock.System{}, nil)
}

func (o *eventOffer) keys(ctx context.Context, s node.LocalServices) error {
	if err := makeDevices(ctx, s.Hub, eventDevices); err != nil {
		return err
	}
	c, err := s.Namespace.ConnectionString("", "RootManageSharedAccessKey", eventhub.Primary)
	if err != nil {
		return err
	}
	text, err := builtin.ConnectionString(s.Hub, "service", hub.Primary)
	if err != nil {
		return err
	}
	h, err := sas.ParseEventHubs(text)
	o.Policy, o.Key, o.HubPolicy, o.HubKey = c.Policy, c.Key, h.Policy, h.Key
	return err
}

// profile writes a processor profile to the folder in ISTHMUS_BENCH_PROFILE, if there is one. name is before the files' names.
func profile(name string) (stop func(), err error) {
	out := os.Getenv("ISTHMUS_BENCH_PROFILE")
	if out == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(out, name+"cpu.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
		if f, err := os.Create(filepath.Join(out, name+"allocs.pprof")); err == nil {
			_ = pprof.Lookup("allocs").WriteTo(f, 0)
			_ = f.Close()
		}
	}, nil
}
