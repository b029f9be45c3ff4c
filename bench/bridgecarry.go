package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/node/bridgenode"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// carryOrder is what a carrier is asked to do. An empty one ends what stays.
type carryOrder struct {
	How       crossing
	Step      string
	Module    string // the file of the function
	Near, Far door
	From, To  string // event hubs
	Seconds   float64
	Events    int64 // that the source has
	Drain     bool  // all of them, and tell of the memory
	Stay      bool  // answer once it runs, and go on
}

// carryAnswer is what it says to that.
type carryAnswer struct {
	PerSecond float64  `json:"perSecond,omitempty"`
	CPU       float64  `json:"cpu,omitempty"` // µs an event
	Memory    []memory `json:"memory,omitempty"`
	Error     string   `json:"error,omitempty"`
}

// memory is what a carrier has at a moment.
type memory struct {
	Second     float64 `json:"second"`
	Events     int64   `json:"events"`
	HeapMB     float64 `json:"heapMB"` // what the last collection found alive
	ResidentMB float64 `json:"residentMB"`
}

// carrying is events on their way. count is how many have arrived; err why no more do.
type carrying interface {
	count() (n int64, err error)
	stop()
}

// serveBridge carries events as it is told, until its standard input ends.
func serveBridge(dir string) error {
	stop, err := profile("bridge-" + strconv.Itoa(os.Getpid()) + "-")
	if err != nil {
		return err
	}
	defer stop()
	ctx := context.Background()
	var stays carrying
	in := bufio.NewScanner(os.Stdin)
	for n := 0; in.Scan(); n++ {
		var o carryOrder
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		var a carryAnswer
		if o.How == "" && stays != nil {
			stays.stop()
			stays = nil
		}
		if o.How != "" {
			c, err := o.begin(ctx, dir, n)
			if err == nil {
				if o.Stay {
					stays = c
				} else {
					a, err = o.watch(c)
					c.stop()
				}
			}
			if err != nil {
				a.Error = err.Error()
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
			return err
		}
	}
	return nil
}

func (o *carryOrder) begin(ctx context.Context, dir string, n int) (carrying, error) {
	if o.How == crossingBridge {
		return o.bridge(ctx, dir, n)
	}
	return o.benthos(ctx, dir, n)
}

// watch counts from a quarter of the time after the first event on, or until all have arrived. What is slow gets more time, since events arrive in
// batches.
func (o *carryOrder) watch(c carrying) (a carryAnswer, err error) {
	const look, start, fewest, slowest = 2 * time.Millisecond, 30 * time.Second, 20 * crossingBatch, 5
	begun := time.Now()
	var n, counted int64
	var first, from time.Time
	var cpu float64
	warm := time.Duration(o.Seconds / 4 * float64(time.Second))
	until := time.Duration(o.Seconds * float64(time.Second))
	if o.Drain {
		warm = 0
	}
	for last := time.Duration(0); ; time.Sleep(look) {
		if n, err = c.count(); err != nil {
			return a, err
		}
		now := time.Now()
		switch {
		case n == 0:
			if now.Sub(begun) > start {
				return a, errors.New("nothing arrives")
			}
			continue
		case first.IsZero():
			first = now
			fallthrough
		case from.IsZero():
			if now.Sub(first) >= warm {
				from, counted, cpu = now, n, cpuSeconds(os.Getpid())
			}
		}
		if at := now.Sub(first); o.Drain && at-last >= 500*time.Millisecond {
			last = at
			a.Memory = append(a.Memory, remember(at, n))
		}
		if over := now.Sub(from); n >= o.Events || !o.Drain && !from.IsZero() && (over >= until && n-counted >= fewest || over >= slowest*until) {
			if from.IsZero() || n == counted {
				return a, fmt.Errorf("%d events arrived before the measurement began, and none after that", n)
			}
			a.PerSecond = float64(n-counted) / over.Seconds()
			a.CPU = (cpuSeconds(os.Getpid()) - cpu) * 1e6 / float64(n-counted)
			return a, nil
		}
	}
}

func remember(at time.Duration, n int64) memory {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return memory{at.Seconds(), n, float64(s[0].Value.Uint64()) / 1e6, float64(residentKiB(os.Getpid())) * 1024 / 1e6}
}

// benchMapping is what the step does that is a mapping, and what the function does.
const benchMapping = "root = this\nroot.fahrenheit = this.celsius * 1.8 + 32"

func (o *carryOrder) steps() ([]resource.BridgeStep, error) {
	switch o.Step {
	case stepMapping, stepBoth:
		return []resource.BridgeStep{{Name: "fahrenheit", Mapping: benchMapping}}, nil
	case stepWASM:
		code, err := os.ReadFile(o.Module)
		sum := sha256.Sum256(code)
		return []resource.BridgeStep{{Name: "fahrenheit", WASM: &resource.WASMFunction{Module: filepath.Base(o.Module), SHA256: hex.EncodeToString(sum[:])}}}, err
	}
	return nil, nil
}

// benchContract lets five fields cross, one of them hashed, and one property.
func benchContract() *plan.Contract {
	return &plan.Contract{
		Name: "near/telemetry", Version: 1, HashKey: make([]byte, 32),
		Spec: resource.ContractSpec{With: "far", Purpose: "a measurement", Messages: []resource.ContractMessage{{
			Name: "telemetry",
			Fields: []resource.ContractField{
				{Path: "device", Hash: true, Required: true}, {Path: "at", Type: "text"}, {Path: "celsius", Type: "number"}, {Path: "state", Type: "text"}, {Path: "vibration.x", Type: "number"},
			},
			Properties: []resource.ContractField{{Path: "line"}},
		}}},
	}
}

// carriedBridge is a bridge as a process of it carries it, with private endpoints that lead straight to the doors.
type carriedBridge struct {
	b     *bridge.Bridges
	end   context.CancelFunc
	ended sync.WaitGroup
}

func (o *carryOrder) bridge(ctx context.Context, dir string, n int) (carrying, error) {
	roots := x509.NewCertPool()
	for name, d := range map[string]door{"near": o.Near, "far": o.Far} {
		pem, err := os.ReadFile(d.CA)
		if err != nil {
			return nil, err
		}
		roots.AppendCertsFromPEM(pem)
		if err := put(filepath.Join(dir, "secrets", name), []byte(sas.EventHubs{HostName: d.Host, Policy: d.User, Key: d.Key}.String())); err != nil {
			return nil, err
		}
	}
	steps, err := o.steps()
	if err != nil {
		return nil, err
	}
	if o.Step == stepWASM {
		code, err := os.ReadFile(o.Module)
		if err == nil {
			err = put(filepath.Join(dir, "modules", filepath.Base(o.Module)), code)
		}
		if err != nil {
			return nil, err
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	out := bridge.Outside{
		Dial: func(ctx context.Context, e plan.BridgeEnd, _ uint16) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", map[string]string{"near": o.Near.Addr, "far": o.Far.Addr}[e.ID])
		},
		TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
	}
	b, err := bridge.New(bridgenode.Parts(bridgenode.Config{Dir: dir}), out, log, clock.System{}, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &carriedBridge{b: b, end: cancel}
	c.ended.Go(func() { _ = b.Run(ctx) }) // nil
	p := plan.Bridge{ID: "bench-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(n), Name: "near/bench/telemetry", Assignment: 1, Ends: map[string]plan.BridgeEnd{}}
	for _, name := range []string{"near", "far"} {
		p.Ends[name] = plan.BridgeEnd{ID: name, Name: name, Open: true, Type: resource.TypeEventHubs, HostName: eventsHost, Ports: []uint16{5671}, Served: true}
	}
	p.Spec = resource.BridgeSpec{
		Source: resource.BridgeSource{Endpoint: "near", EventHub: o.From, Secret: "near"}, Steps: steps,
		Destination: resource.BridgeDestination{Endpoint: "far", Secret: "far", EventHub: &resource.EventHubDestination{Name: o.To}},
	}
	if o.Step == stepContract || o.Step == stepBoth {
		p.Contract = benchContract()
	}
	b.Set([]plan.Bridge{p})
	return c, nil
}

func put(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func (c *carriedBridge) count() (int64, error) {
	s := c.b.Status()[0]
	if s.Dead > 0 || s.Why != "" && s.State != resource.BridgeRunning && len(s.RecentErrors) > 0 {
		return s.Sent, fmt.Errorf("%s at %s: %s; %d dead letters %+v", s.State, s.Step, s.Why, s.Dead, s.RecentErrors)
	}
	return s.Sent, nil
}

func (c *carriedBridge) stop() {
	c.b.Set(nil)
	c.end()
	c.ended.Wait()
}
