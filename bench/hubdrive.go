package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// hubLoad is what a driving half does.
type hubLoad struct {
	Mode      string  `json:"mode"` // telemetry, patches, idle, methods
	Addr      string  `json:"addr"`
	CA        string  `json:"ca"`
	WebSocket bool    `json:"webSocket,omitempty"`
	Broker    bool    `json:"broker,omitempty"` // no IoT hub: nothing to subscribe to
	Devices   int     `json:"devices"`
	Window    int     `json:"window,omitempty"`
	Body      int     `json:"body,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"`
}

// diallers is how many connections come up at a time.
const diallers = 64

func driveHub(text string) error {
	var l hubLoad
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	raiseFiles()
	ctx := context.Background()
	f, err := newFleet(l.Addr, l.CA, l.WebSocket)
	if err != nil {
		return err
	}
	devices, took, err := f.all(ctx, l)
	if err != nil {
		return err
	}
	var out figures
	switch l.Mode {
	case "telemetry":
		fmt.Println("idle") // what connecting costs is not the messages' cost
		if !bufio.NewScanner(os.Stdin).Scan() {
			return nil
		}
		out, err = telemetry(devices, l)
	case "patches":
		out, err = patches(devices, l)
	case "idle":
		out, err = f.rest(ctx, devices, took, l)
	case "methods":
		for _, d := range devices {
			go d.answers()
		}
		out, err = f.rest(ctx, nil, took, l)
	default:
		err = fmt.Errorf("no mode %q", l.Mode)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// all connects every device, and subscribes where there is something to subscribe to.
func (f *fleet) all(ctx context.Context, l hubLoad) ([]*device, time.Duration, error) {
	devices := make([]*device, l.Devices)
	var turn, failed atomic.Int64
	var why error
	var once sync.Once
	var all sync.WaitGroup
	start := time.Now()
	for range diallers {
		all.Go(func() {
			for failed.Load() < 100 {
				i := int(turn.Add(1)) - 1
				if i >= l.Devices {
					return
				}
				d, err := f.dial(ctx, i)
				if err == nil && !l.Broker && l.Mode != "telemetry" {
					err = d.subscribe()
				}
				if err != nil {
					failed.Add(1)
					once.Do(func() { why = err })
					return
				}
				devices[i] = d
			}
		})
	}
	all.Wait()
	if failed.Load() > 0 {
		return nil, 0, fmt.Errorf("%d devices did not connect: %w", failed.Load(), why)
	}
	return devices, time.Since(start), nil
}

func telemetry(devices []*device, l hubLoad) (figures, error) {
	warm := time.Duration(l.Seconds / 4 * float64(time.Second))
	from := time.Now().Add(warm)
	until := from.Add(time.Duration(l.Seconds * float64(time.Second)))
	var mu sync.Mutex
	var took []float32
	var count, errs int64
	var all sync.WaitGroup
	for _, d := range devices {
		all.Go(func() {
			defer d.cut()
			own, n, err := d.telemetry(l.Window, l.Body, until, from)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
			count += n
			if err != nil {
				errs++
				fmt.Fprintln(os.Stderr, d.id, err)
			}
		})
	}
	all.Wait()
	out := figures{Messages: float64(count) / l.Seconds, Errors: errs}
	if len(took) > 0 {
		slices.Sort(took)
		out.MedianRTT, out.P99RTT = float64(took[len(took)/2]), float64(took[len(took)*99/100])
	}
	return out, nil
}

func patches(devices []*device, l hubLoad) (figures, error) {
	until := time.Now().Add(time.Duration(l.Seconds * float64(time.Second)))
	var n, errs atomic.Int64
	var all sync.WaitGroup
	for _, d := range devices {
		all.Go(func() {
			defer d.cut()
			k, err := d.patches(until)
			n.Add(k)
			if err != nil {
				errs.Add(1)
				fmt.Fprintln(os.Stderr, d.id, err)
			}
		})
	}
	all.Wait()
	return figures{Messages: float64(n.Load()) / l.Seconds, Errors: errs.Load()}, nil
}

// rest says that all devices are there, and holds them. On "storm" it cuts all of them at once and has them come back, and says so again.
func (f *fleet) rest(ctx context.Context, devices []*device, took time.Duration, l hubLoad) (figures, error) {
	out := figures{FlowsPerSec: float64(l.Devices) / took.Seconds()}
	fmt.Println("idle")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() != "storm" {
			return out, fmt.Errorf("the load does not know %q", in.Text())
		}
		for _, d := range devices {
			d.cut()
		}
		var err error
		if devices, took, err = f.all(ctx, l); err != nil {
			return out, err
		}
		out.StormSeconds = took.Seconds()
		fmt.Println("idle")
	}
	return out, nil
}
