package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "certificate" { // for one who starts the halves by hand
		return writeCertificate(args[1])
	}
	if len(args) > 0 && (args[0] == "serve" || args[0] == "drive") {
		return half(args)
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := fs.Bool("quick", false, "one short round")
	rounds := fs.Int("rounds", 5, "rounds; each figure is the median over them")
	seconds := fs.Float64("seconds", 2, "length of one measurement")
	only := fs.String("only", "", "comma-separated subjects")
	out := fs.String("out", "bench/out", "folder for the JSON results")
	backlog := fs.Int64("backlog", 2_000_000, "events that the bridge drains while its memory is watched")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *quick {
		*rounds, *seconds, *backlog = 1, 0.5, min(*backlog, 500_000)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := &binaries{}
	defer b.close()
	for _, s := range suites(b, raiseFiles(), *backlog) {
		if fs.NArg() > 0 && !slices.Contains(fs.Args(), s.name) {
			continue
		}
		kept, left := choose(s.subjects, *only)
		if len(kept) == 0 {
			continue
		}
		s.subjects = kept
		res, err := measure(ctx, s, *rounds, *seconds)
		if err != nil {
			return err
		}
		res.LeftOut = left
		if err := res.report(os.Stdout, *out); err != nil {
			return err
		}
	}
	return nil
}

// half is this program started again as one half of the load.
func half(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 4 && args[0] == "serve" && args[1] == "hub":
		devices, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		raiseFiles()
		return serveHub(args[2], devices)
	case len(args) == 3 && args[0] == "drive" && args[1] == "hub":
		return driveHub(args[2])
	case len(args) > 3 && args[0] == "serve" && args[1] == "events":
		raiseFiles()
		return serveEvents(args[2], args[3:])
	case len(args) == 3 && args[0] == "serve" && args[1] == "bridge":
		raiseFiles()
		return serveBridge(args[2])
	case len(args) == 2 && args[0] == "drive" && args[1] == "events":
		return driveEvents()
	case len(args) == 3 && args[0] == "serve" && args[1] == "dns":
		return serveDNS(args[2])
	case len(args) == 6 && args[0] == "drive":
		flows, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		secs, err := strconv.ParseFloat(args[4], 64)
		if err != nil {
			return err
		}
		rate, err := strconv.ParseFloat(args[5], 64)
		if err != nil {
			return err
		}
		return drive(args[1], args[2], flows, time.Duration(secs*float64(time.Second)), rate)
	}
	return errors.New("a half is started by the program itself")
}

// suites are the comparisons, in the order in which they run. files is how many one process may have open, backlog how many events a bridge drains.
func suites(b *binaries, files int, backlog int64) []suite {
	return []suite{
		{
			name: "path", title: "The private path", reference: "isthmus", metrics: pathMetrics, one: measurePath,
			subjects: []subject{raw{}, &isthmus{b}, frp{}, chisel{}, stunnel{}, ssh{}, wireguard{}},
		},
		{
			name: "access", title: "A person's way into a machine, and others' ways to forward a port", reference: "isthmus connect", metrics: accessMetrics, one: measureAccess,
			subjects: []subject{raw{}, &isthmusAccess{b}, ssh{}, sshHops{}, frp{}, chisel{}},
		},
		{
			name: "front", title: "The gateway, routing by the name in the ClientHello and by 1,000 source rules", reference: "isthmus", metrics: frontMetrics, one: front{idle: min(frontIdle, (files-1000)/2)}.measure,
			subjects: []subject{haproxy{}, haproxy{splice: true}, &gatewayFront{b}, raw{}},
		},
		{
			name: "hub", title: "The hub, each message on the disk before it is acknowledged, and mosquitto, which keeps none", reference: "isthmus", metrics: hubMetrics,
			one:      hubSuite{idle: min(hubIdle, files-1000)}.measure,
			subjects: []subject{isthmusHub{}, mosquitto{}},
		},
		{
			name: "events", title: "Events over AMQP 1.0, each on the disk before it is acknowledged, and RabbitMQ's queues", reference: "isthmus", metrics: eventMetrics, one: eventSuite{b}.measure,
			subjects: []subject{eventHubs{}, rabbitMQ{"classic"}, rabbitMQ{"quorum"}, rabbitMQ{"stream"}},
		},
		{
			name: "bridge", title: "A bridge between two namespaces, each event on the disk before it counts, and Benthos alone", reference: "isthmus", metrics: bridgeMetrics,
			one:      bridgeSuite{b, backlog}.measure,
			subjects: []subject{crossing("isthmus"), crossing("benthos, same ends"), crossing("benthos, files"), crossing("benthos, memory")},
		},
		{
			name: "names", title: "The resolver, asked by dnsperf", reference: "isthmus", metrics: namesMetrics, one: measureNames,
			subjects: []subject{&resolverNames{b}, named{}, unbound{}, coredns{}},
		},
	}
}

// choose keeps the subjects whose programs are here, and says of the others what is missing.
func choose(all []subject, only string) (kept []subject, left map[string]string) {
	left = map[string]string{}
	for _, s := range all {
		if only != "" && !strings.Contains(","+only+",", ","+s.name()+",") {
			continue
		}
		missing := ""
		for _, prog := range s.needs() {
			if _, err := exec.LookPath(prog); err != nil {
				missing = prog
				break
			}
		}
		if missing != "" {
			left[s.name()] = missing + " is not on PATH"
			continue
		}
		kept = append(kept, s)
	}
	return kept, left
}

// program runs this program again as a half of the load.
func program(ctx context.Context, netns string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if netns != "" {
		args = append([]string{"netns", "exec", netns, self}, args...)
		self = "ip"
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	if hello := ctx.Value(helloKey{}); hello != nil {
		cmd.Env = append(os.Environ(), helloEnv+"="+hello.(string))
	}
	dieWithParent(cmd)
	return cmd, nil
}

// startServer starts a half of the load that says first where it listens: the server of connections, or with "dns" of names.
func startServer(ctx context.Context, what ...string) (addr string, stop func(), err error) {
	cmd, err := program(ctx, "", append(append([]string{"serve"}, what...), "127.0.0.1:0")...)
	if err != nil {
		return "", nil, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(pipe).ReadString('\n')
	return strings.TrimSpace(line), func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, err
}

func driveOnce(ctx context.Context, w way, mode string, flows int, seconds float64) (figures, error) {
	return drivePaced(ctx, w, mode, flows, seconds, 0)
}

// drivePaced is driveOnce with so many messages a second, where the mode has a rate.
func drivePaced(ctx context.Context, w way, mode string, flows int, seconds, rate float64) (figures, error) {
	var f figures
	cmd, err := program(ctx, w.netns, "drive", w.addr, mode, strconv.Itoa(flows), fmt.Sprint(seconds), fmt.Sprint(rate))
	if err != nil {
		return f, err
	}
	text, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("%s: %w", mode, err)
	}
	return f, json.Unmarshal(text, &f)
}

// driveIdle holds n flows open, calls while in between, and reports how many no longer worked.
func driveIdle(ctx context.Context, w way, n int, while func() error) (figures, error) {
	var f figures
	cmd, err := program(ctx, w.netns, "drive", w.addr, "idle", strconv.Itoa(n), "30", "0")
	if err != nil {
		return f, err
	}
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
	line, err := r.ReadBytes('\n')
	if err != nil || !bytes.Equal(line, []byte("idle\n")) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return f, fmt.Errorf("idle flows did not come up: %w", err)
	}
	err = while()
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
