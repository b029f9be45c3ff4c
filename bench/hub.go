package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var hubMetrics = []metric{ //nolint:gochecknoglobals // a constant table
	{"many200", "QoS 1, 200 devices, 8 in flight each", "/s", false},
	{"many200p50", "  p50", "ms", true},
	{"many200p99", "  p99", "ms", true},
	{"many2000", "QoS 1, 2,000 devices, 8 in flight each", "/s", false},
	{"many2000p50", "  p50", "ms", true},
	{"many2000p99", "  p99", "ms", true},
	{"one200", "QoS 1, 200 devices, 1 in flight each", "/s", false},
	{"one200p50", "  p50", "ms", true},
	{"one200p99", "  p99", "ms", true},
	{"one2000", "QoS 1, 2,000 devices, 1 in flight each", "/s", false},
	{"one2000p50", "  p50", "ms", true},
	{"one2000p99", "  p99", "ms", true},
	{"cpu", "processor time per message, 2,000 devices, 1 in flight", "µs", true},
	{"idle", "resident memory per idle TLS connection", "kB", true},
	{"idleWS", "the same over WebSocket", "kB", true},
	{"storm", "all idle connections cut at once: until all are back", "s", true},
	{"patches", "patches of reported properties, 200 devices", "/s", false},
	{"methods", "direct methods, 200 devices, 64 callers", "/s", false},
}

const (
	hubIdle    = 10_000
	hubBody    = 256
	settleIdle = 15 * time.Second
)

// hubSuite is the suite's one parameter: how many connections one process can hold.
type hubSuite struct{ idle int }

// messenger is a subject that devices speak MQTT to, with so many of them in its registry, if it has one.
type messenger interface {
	subject
	serve(ctx context.Context, dir string, devices int, p *processes) (*hubHalf, error)
}

func (hs hubSuite) measure(ctx context.Context, r *result, s subject, seconds float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	add := r.adder(s)
	_, isHub := s.(isthmusHub)
	// Each part has a process of its own, so that what one leaves behind is not the next one's.
	part := func(devices int, do func(at *hubHalf, l hubLoad, p *processes) error) error {
		dir, err := os.MkdirTemp("", "isthmus-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := writeCertificate(dir); err != nil {
			return err
		}
		p := &processes{dir: dir, pids: map[string]func() int{}}
		defer p.stop()
		at, err := s.(messenger).serve(ctx, dir, devices, p)
		if err == nil {
			err = do(at, hubLoad{Addr: at.mqtt, CA: filepath.Join(dir, "ca.pem"), Devices: devices, Body: hubBody, Seconds: seconds, Broker: !isHub}, p)
		}
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.logs())
		}
		return nil
	}
	for _, m := range []struct {
		key             string
		devices, window int
	}{{"many200", 200, 8}, {"many2000", 2000, 8}, {"one200", 200, 1}, {"one2000", 2000, 1}} {
		if err := part(m.devices, func(_ *hubHalf, l hubLoad, p *processes) error {
			l.Mode, l.Window = "telemetry", m.window
			var cpu float64
			f, err := holdHub(ctx, l, func(again func(string) error) error {
				cpu = p.cpuSeconds()
				return again("")
			})
			add(m.key, f.Messages, f)
			add(m.key+"p50", f.MedianRTT/1000, figures{})
			add(m.key+"p99", f.P99RTT/1000, figures{})
			if m.key == "one2000" && f.Messages > 0 {
				add("cpu", (p.cpuSeconds()-cpu)*1e6/(f.Messages*seconds*1.25), figures{}) // a quarter more is sent before it counts
			}
			return err
		}); err != nil {
			return err
		}
	}
	idle := func(key string, webSocket bool) error {
		return part(hs.idle, func(at *hubHalf, l hubLoad, p *processes) error {
			if l.Mode = "idle"; webSocket {
				l.WebSocket, l.Addr = true, at.https
			}
			before := sum(p.residentKiB())
			f, err := holdHub(ctx, l, func(again func(string) error) error {
				time.Sleep(settleIdle)
				add(key, float64(sum(p.residentKiB())-before)*1.024/float64(l.Devices), figures{})
				if webSocket {
					return nil
				}
				return again("storm")
			})
			if f.StormSeconds > 0 {
				add("storm", f.StormSeconds, f)
			}
			return err
		})
	}
	if err := idle("idle", false); err != nil || !isHub {
		return err
	}
	if err := idle("idleWS", true); err != nil {
		return err
	}
	return part(200, func(at *hubHalf, l hubLoad, _ *processes) error {
		l.Mode = "patches"
		f, err := loadHub(ctx, l)
		if err != nil {
			return err
		}
		add("patches", f.Messages, f)
		l.Mode = "methods"
		_, err = holdHub(ctx, l, func(func(string) error) error {
			a, err := at.order(hubOrder{Methods: seconds, Workers: 64})
			if err == nil && a.Errors > 0 {
				err = fmt.Errorf("%d methods were not answered: %s", a.Errors, a.Why)
			}
			add("methods", a.PerSecond, figures{Errors: a.Errors})
			return err
		})
		return err
	})
}

func loadHub(ctx context.Context, l hubLoad) (figures, error) {
	var f figures
	text, err := json.Marshal(l)
	if err != nil {
		return f, err
	}
	cmd, err := program(ctx, "", "drive", "hub", string(text))
	if err != nil {
		return f, err
	}
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("%s: %w", l.Mode, err)
	}
	return f, json.Unmarshal(out, &f)
}

// holdHub connects all devices, calls while, which may have the load do something more and wait for it, with "" not, and lets them go.
func holdHub(ctx context.Context, l hubLoad, while func(again func(string) error) error) (figures, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return figures{}, err
	}
	cmd, err := program(ctx, "", "drive", "hub", string(text))
	if err != nil {
		return figures{}, err
	}
	return hold(cmd, "", while)
}

// hold starts a load, tells it what to do unless that is empty, waits until it says that it is connected, and calls while.
func hold(cmd *exec.Cmd, what string, while func(again func(string) error) error) (figures, error) {
	var f figures
	in, err := cmd.StdinPipe()
	if err != nil {
		return f, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return f, err
	}
	if err := cmd.Start(); err != nil {
		return f, err
	}
	r := bufio.NewReader(pipe)
	idle := func() error {
		line, err := r.ReadBytes('\n')
		if err != nil || !bytes.Equal(line, []byte("idle\n")) {
			return fmt.Errorf("the load did not connect: %w", err)
		}
		return nil
	}
	if what != "" {
		_, err = fmt.Fprintln(in, what)
	}
	if err == nil {
		err = idle()
	}
	if err == nil {
		err = while(func(what string) error {
			_, err := fmt.Fprintln(in, what)
			if err != nil || what == "" {
				return err
			}
			return idle()
		})
	}
	in.Close()
	rest, rerr := io.ReadAll(r)
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if err == nil {
		err = rerr
	}
	if err == nil {
		err = json.Unmarshal(rest, &f)
	}
	return f, err
}

// isthmusHub is the rooms of a hub, with its event log and its registry on the disk.
type isthmusHub struct{}

func (isthmusHub) name() string    { return "isthmus" }
func (isthmusHub) needs() []string { return nil }
func (isthmusHub) start(context.Context, string, *processes) (way, error) {
	return way{}, nil // see serve
}

func (isthmusHub) serve(ctx context.Context, dir string, devices int, p *processes) (*hubHalf, error) {
	cmd, err := program(ctx, "", "serve", "hub", dir, strconv.Itoa(devices))
	if err != nil {
		return nil, err
	}
	h := &hubHalf{}
	if h.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.running = append(p.running, &process{"hub", cmd})
	h.out = bufio.NewReader(pipe)
	line, err := h.out.ReadString('\n')
	h.mqtt, h.https, _ = strings.Cut(strings.TrimSpace(line), " ")
	return h, err
}

// mosquitto is Debian's, with TLS and nothing kept: it acknowledges from memory.
type mosquitto struct{}

func (mosquitto) name() string    { return "mosquitto" }
func (mosquitto) needs() []string { return []string{"mosquitto"} }
func (mosquitto) start(context.Context, string, *processes) (way, error) {
	return way{}, nil // see serve
}

func (mosquitto) serve(ctx context.Context, dir string, _ int, p *processes) (*hubHalf, error) {
	entry, err := freePort()
	if err != nil {
		return nil, err
	}
	lines := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\ncafile %[2]s/ca.pem\ncertfile %[2]s/server.pem\nkeyfile %[2]s/server.key\npersistence false\nmax_connections -1\nlog_type error\nlog_type warning\n",
		portOf(entry), dir)
	if os.Getuid() == 0 {
		lines += "user root\n" // the files are ours
	}
	config, err := p.file("mosquitto.conf", lines)
	if err != nil {
		return nil, err
	}
	if _, err := p.run(ctx, "mosquitto", "mosquitto", "-c", config); err != nil {
		return nil, err
	}
	return &hubHalf{mqtt: entry}, waitListening(ctx, entry)
}
