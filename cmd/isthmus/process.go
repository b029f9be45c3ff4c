package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// process is what every long-running command has: a data directory, a log and metrics.
type process struct {
	w        *world
	dataDir  string
	logLevel string
	logJSON  bool
	metrics  string
	shared   bool // another process may take over while this one runs: the metrics' address is shared with it
	unserve  func()
}

func (p *process) addTo(c *cobra.Command, role string) {
	p.addDir(c, role)
	p.addLog(c)
}

// addLog is addTo without a data directory.
func (p *process) addLog(c *cobra.Command) {
	c.Flags().StringVar(&p.logLevel, "log-level", "info", "`LEVEL`: debug, info, warn or error")
	c.Flags().BoolVar(&p.logJSON, "log-json", false, "log as JSON")
	c.Flags().StringVar(&p.metrics, "metrics", "", "`HOST:PORT` to serve Prometheus metrics on; none when absent")
	_ = c.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func (p *process) addDir(c *cobra.Command, role string) {
	dir := filepath.Join("/var/lib/isthmus", role)
	if os.Getuid() != 0 {
		if home, err := os.UserHomeDir(); err == nil {
			dir = filepath.Join(home, ".local", "share", "isthmus", role)
		}
	}
	c.Flags().StringVar(&p.dataDir, "data-dir", dir, "`DIR` of this process alone; holds its keys, mode 0700")
	_ = c.MarkFlagDirname("data-dir") // the flag exists
}

func (p *process) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(p.logLevel)); err != nil {
		return nil, usagef("--log-level %q is none", p.logLevel).advise("levels are debug, info, warn and error")
	}
	opts := &slog.HandlerOptions{Level: level}
	if p.logJSON {
		return slog.New(slog.NewJSONHandler(p.w.err, opts)), nil
	}
	return slog.New(slog.NewTextHandler(p.w.err, opts)), nil
}

// run starts the metrics' listener beside f and ends both together.
func (p *process) run(ctx context.Context, f func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error) error {
	log, err := p.logger()
	if err != nil {
		return err
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.metrics != "" {
		end, err := serveMetrics(ctx, p.metrics, reg, p.shared)
		if err != nil {
			return err
		}
		defer end()
		p.unserve = end
	}
	return f(ctx, log, reg)
}

// leaveMetrics lets the process that took over answer alone.
func (p *process) leaveMetrics() {
	if p.unserve != nil {
		p.unserve()
	}
}

func serveMetrics(ctx context.Context, addr string, reg *prometheus.Registry, shared bool) (end func(), err error) {
	var lc net.ListenConfig
	if shared {
		lc.Control = shareAddress
	}
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fault.New("isthmus.metrics", fault.Unavailable, "cannot serve metrics on "+addr+": "+err.Error()).Because(err).
			Advise("give --metrics an address that is free, such as 127.0.0.1:9464")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	return func() { s.Close(); <-done }, nil
}

// joining is what `agent join`, `hub join` and `relay join` share.
type joining struct {
	process
	name, tokenFile string
	servers         []string
	proxy           string
	force           bool
}

func (j *joining) addTo(c *cobra.Command, role string) {
	j.addDir(c, role)
	f := c.Flags()
	f.StringVar(&j.name, "name", "", "`NAME` to join under; the token's, or this machine's name when absent")
	f.StringVar(&j.tokenFile, "token-file", "", "`FILE` with the join token, - for standard input (or the token itself in ISTHMUS_JOIN_TOKEN)")
	f.StringSliceVar(&j.servers, "server", nil, "`HOST:PORT` to ask instead of the addresses in the token")
	f.BoolVar(&j.force, "force", false, "give up the identity that is there already")
	f.StringVar(&j.proxy, "proxy", "", "`URL` of an HTTP proxy; HTTPS_PROXY when absent (the place for one with a password), none for none")
}

// token reads the join token from where others on this machine cannot see it.
func (j *joining) token() (string, error) {
	file := j.tokenFile
	if file == "" {
		if t := j.w.getenv("ISTHMUS_JOIN_TOKEN"); t != "" {
			return strings.TrimSpace(t), nil
		}
		file = "-"
	}
	t, err := j.w.secret("join token", file)
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return "", e.Advise("make one where you are logged in (isthmus token join --help) and give it with --token-file or on standard input")
	}
	return t, err
}

// nameOr returns the name to join under: the one given, or this machine's.
func (j *joining) nameOr() string {
	if j.name != "" {
		return j.name
	}
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, r := range strings.ToLower(host) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String()[:min(b.Len(), 63)], "-")
}

func (j *joining) clock() clock.Clock { return j.w.clock }
