package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	hubfront "github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/mqttdoor"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

const hubHost = "bench.azure-devices.net"

// hubKey is the key of every device: nobody but the load's client gets near them.
var hubKey = base64.StdEncoding.EncodeToString([]byte("isthmus-bench-isthmus-bench-0000")) //nolint:gochecknoglobals // a constant

// serveHub is the rooms of a hub process with so many devices, without the membership that gives a real one its plan and certificate. It
// says where MQTT and HTTPS listen and then obeys lines of hubOrder until its standard input ends. The certificate is in dir.
func serveHub(dir string, devices int) error {
	stop, err := profile("")
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	events, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(dir, "events")}, log, clock.System{}, nil)
	if err != nil {
		return err
	}
	limits, tenant := limit.Defaults(), limit.DefaultTenant()
	for i := range tenant { // counted as ever, and never used up: it is not the limits that are measured
		for _, r := range []*limit.Rate{&limits.Device[i], &limits.Hub[i], &tenant[i]} {
			r.PerSecond, r.Burst = 100*r.PerSecond, 100*r.Burst
		}
	}
	server, err := hub.New(ctx, hub.Config{Dir: dir, Limits: limits, Tenant: tenant}, events, log, clock.System{}, nil)
	if err != nil {
		return err
	}
	if err := server.SetHubs([]plan.Hub{{ID: "bench", Name: "bench/bench/bench", HostNames: []string{hubHost}, Public: resource.PublicEnabled}}); err != nil {
		return err
	}
	h, _ := server.ByHost(hubHost)
	if err := makeDevices(ctx, h, devices); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		return err
	}
	fr := hubfront.New(hubfront.Config{MaxPerSource: 20_000}, server, func(string) (*tls.Certificate, error) { return &cert, nil }, log, clock.System{})
	mqtt := mqttdoor.New(mqttdoor.Config{}, server, fr, log, clock.System{})
	https := httpdoor.New(httpdoor.Config{WebSocket: map[string]func(context.Context, *hubfront.Conn){httpdoor.MQTTOverWebSocket: mqtt.Handle}}, server, fr, log, clock.System{})
	forMQTT, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	forHTTPS, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { return events.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return mqtt.Serve(ctx, forMQTT) })
	g.Go(func() error { return https.Serve(ctx, forHTTPS) })
	fmt.Println(forMQTT.Addr(), forHTTPS.Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o hubOrder
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(o.carryOut(ctx, h, devices)); err != nil {
			return err
		}
	}
	cancel()
	return g.Wait()
}

func makeDevices(ctx context.Context, h *hub.Hub, n int) error {
	for first := 0; first < n; first += 500 {
		var changes []hub.Change
		for i := first; i < min(first+500, n); i++ {
			changes = append(changes, hub.Change{Device: hubstore.Device{ID: deviceID(i), PrimaryKey: hubKey, SecondaryKey: hubKey}, Mode: hub.Create})
		}
		results, err := h.ChangeDevices(ctx, changes)
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Err != nil {
				return r.Err
			}
		}
	}
	return nil
}

func deviceID(i int) string { return fmt.Sprintf("device-%05d", i) }

// hubOrder is what a serving half is asked to do.
type hubOrder struct {
	Memory  bool    `json:"memory,omitempty"`  // say how much the heap holds
	Methods float64 `json:"methods,omitempty"` // call methods of all devices for so many seconds
	Workers int     `json:"workers,omitempty"`
}

// hubAnswer is what it says to that.
type hubAnswer struct {
	HeapKiB    float64 `json:"heapKiB,omitempty"`  // live, after a collection
	StackKiB   float64 `json:"stackKiB,omitempty"` // of all goroutines
	Goroutines int     `json:"goroutines,omitempty"`
	PerSecond  float64 `json:"perSecond,omitempty"`
	Errors     int64   `json:"errors,omitempty"`
	Why        string  `json:"why,omitempty"`
}

func (o hubOrder) carryOut(ctx context.Context, h *hub.Hub, devices int) hubAnswer {
	var a hubAnswer
	if o.Memory {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		a = hubAnswer{HeapKiB: float64(m.HeapAlloc) / 1024, StackKiB: float64(m.StackInuse) / 1024, Goroutines: runtime.NumGoroutine()}
		if out := os.Getenv("ISTHMUS_BENCH_PROFILE"); out != "" {
			if f, err := os.Create(filepath.Join(out, "heap.pprof")); err == nil {
				_ = pprof.WriteHeapProfile(f)
				_ = f.Close()
			}
			if f, err := os.Create(filepath.Join(out, "goroutines.txt")); err == nil {
				_ = pprof.Lookup("goroutine").WriteTo(f, 1)
				_ = f.Close()
			}
		}
	}
	if o.Methods > 0 {
		var done, errs, turn atomic.Int64
		var why atomic.Value
		var all sync.WaitGroup
		start := time.Now()
		for range o.Workers {
			all.Go(func() {
				for time.Since(start).Seconds() < o.Methods {
					n := hub.Name{Device: deviceID(int(turn.Add(1)) % devices)}
					if _, err := h.InvokeMethod(ctx, n, hub.MethodRequest{Name: "measure", Payload: json.RawMessage(`{"at":1}`)}); err != nil {
						errs.Add(1)
						why.Store(err.Error())
						continue
					}
					done.Add(1)
				}
			})
		}
		all.Wait()
		a.PerSecond, a.Errors = float64(done.Load())/time.Since(start).Seconds(), errs.Load()
		a.Why, _ = why.Load().(string)
	}
	return a
}

// hubHalf is a running `serve hub`.
type hubHalf struct {
	mqtt, https string
	in          io.WriteCloser
	out         *bufio.Reader
}

func (h *hubHalf) order(o hubOrder) (a hubAnswer, err error) {
	if err := json.NewEncoder(h.in).Encode(o); err != nil {
		return a, err
	}
	line, err := h.out.ReadBytes('\n')
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(line, &a)
}

// writeCertificate puts an authority and a server's certificate for hubHost into dir: ca.pem, server.pem, server.key.
func writeCertificate(dir string) error {
	now := time.Now()
	authority, _, err := identity.NewAuthority("bench", now)
	if err != nil {
		return err
	}
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		return err
	}
	csr, err := identity.NewRequest(key, "", hubHost)
	if err != nil {
		return err
	}
	cert, err := authority.IssueServer(csr, now, 24*time.Hour, hubHost)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"ca.pem": authority.CertificatePEM(), "server.pem": cert, "server.key": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
