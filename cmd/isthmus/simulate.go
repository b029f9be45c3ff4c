package main

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/simulate/bulk"
	"github.com/isthmus-io/isthmus/simulate/settings"
	"github.com/isthmus-io/isthmus/simulate/signin"
	"github.com/isthmus-io/isthmus/simulate/verify"
)

func newSimulate(w *world) *cobra.Command {
	var out output
	var metrics string
	p := &process{w: w}
	c := &cobra.Command{
		Use: "simulate", Short: "Play devices by the thousand against a hub",
		Long: `Play devices that send telemetry to a hub, as Microsoft's IoT telemetry simulator does: its environment variables and its files are read as they are, so a
job made for it runs unchanged. Flags beat the file, which beats the environment. Settings that are wrong are refused before the first connection.
Secrets come from the environment (IotHubConnectionString, ISTHMUS_SIMULATE_GROUP_KEY) or from files, never from the command line.
All settings: docs/simulate.md. Exit code 1 when a device was refused, a message was not acknowledged, or --verify finds one missing.`,
		Example: `  isthmus simulate --device-count 1000 --create-devices --message-count 60
  isthmus simulate --file job.json --address 10.7.0.4:8883 --ca ca.pem --verify -o json
  isthmus simulate --device-count 20000 --intervals 10000 --ramp 500 --storm every=30s,share=0.5 --duration 10m --metrics-listen 127.0.0.1:9100`,
		Annotations: map[string]string{runsItself: "yes"},
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return group(c, args)
			}
			return nil
		},
	}
	given := addSettings(c, settings.Everything)
	out.addTo(c, "text", outJSON, outYAML)
	f := c.Flags()
	f.StringVar(&p.logLevel, "log-level", "info", "`LEVEL`: debug, info, warn or error")
	f.BoolVar(&p.logJSON, "log-json", false, "log as JSON")
	f.StringVar(&metrics, "metrics-listen", "", "`HOST:PORT` to serve Prometheus metrics on; none when absent")
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := w.settings(given(), settings.Everything)
		if err != nil {
			return err
		}
		line := &liveLine{out: w.err, live: w.terminal}
		own := *w
		own.err = line
		p.w = &own
		log, err := p.logger()
		if err != nil {
			return err
		}
		return w.simulate(c.Context(), s, line, log, metrics, &out)
	}
	c.AddCommand(newSimulateDevices(w))
	return c
}

// addSettings gives a command the flags of the settings it takes, and returns what of them was given.
func addSettings(c *cobra.Command, part settings.Part) func() map[string]string {
	f := c.Flags()
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName { return pflag.NormalizedName(kebab(name)) })
	byFlag := map[string]string{}
	for _, d := range settings.Table() {
		if d.Flag == "" || part == settings.DevicesOnly && !ofDevices(d.Flag) {
			continue
		}
		byFlag[d.Flag] = d.Name
		words := d.Words
		switch {
		case d.Value == "":
			f.Bool(d.Flag, false, words)
			continue
		case d.Default != "":
			words += " (default " + d.Default + ")"
		}
		f.Var(&settingFlag{kind: d.Value}, d.Flag, words)
	}
	for flag, values := range map[string][]string{"sign-in": {"policy", "device-keys", "group", "certificate"}, "protocol": {"mqtt", "mqtt-ws", "amqp", "amqp-ws", "https"}} {
		if f.Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
		}
	}
	return func() map[string]string {
		out := map[string]string{}
		f.Visit(func(g *pflag.Flag) {
			if name, ok := byFlag[g.Name]; ok {
				out[name] = g.Value.String()
			}
		})
		return out
	}
}

// settingFlag takes any text: what it means, and whether it is right, the settings know.
type settingFlag struct{ text, kind string }

// String, Set and Type make it a pflag.Value.
func (s *settingFlag) String() string { return s.text }

func (s *settingFlag) Set(text string) error {
	s.text = text
	return nil
}

func (s *settingFlag) Type() string { return s.kind }

// ofDevices tells whether a flag says which devices of which hub are meant.
func ofDevices(flag string) bool {
	switch flag {
	case "file", "device-prefix", "device-index", "device-count", "device-list", "connection-file", "group-key-file", "api-address", "ca":
		return true
	}
	return false
}

// kebab turns DeviceCount, as the telemetry simulator spells it, into device-count.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) {
			if i > 0 {
				b.WriteByte('-')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (w *world) settings(flags map[string]string, part settings.Part) (*settings.Settings, error) {
	in := settings.Input{Flags: flags, Part: part}
	if w.environ != nil {
		in.Environ = w.environ()
	}
	s, err := settings.Read(in)
	if err != nil {
		return nil, err
	}
	for _, n := range s.Notes {
		w.note("%s", n)
	}
	return s, nil
}

// simulate runs one simulation and prints what came of it.
func (w *world) simulate(ctx context.Context, s *settings.Settings, line *liveLine, log *slog.Logger, metrics string, out *output) error {
	var hub *hubclient.Client
	var registry signin.Registry
	var events verify.Events
	if s.Connection.Policy != "" {
		var err error
		if hub, err = hubclient.New(hubclient.Config{Connection: s.Connection, Address: s.APIAddress, Roots: s.Roots}, w.clock); err != nil {
			return err
		}
		defer hub.Close()
		registry, events = hub, hub
	}
	if s.CreateDevices {
		res, err := bulk.Create(ctx, hub, s.Devices, w.keysOf(s), w.counting(line, "creating devices", len(s.Devices)))
		if err == nil && res.Failed > 0 {
			err = fault.Wrap("isthmus.simulate", fault.Internal, res.Failures[0].Err, "")
		}
		if line.end(); err != nil {
			return err
		}
		log.Info("simulate: devices are there", "created", res.Done, "already", res.Already)
	}
	method, err := signin.New(s, registry, w.clock)
	if err != nil {
		return err
	}
	fleet, err := simulate.NewFleet(s, method, events, log, w.clock)
	if err != nil {
		return err
	}
	if metrics != "" {
		reg := prometheus.NewRegistry()
		reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), simulate.NewCollector(fleet))
		end, err := serveMetrics(ctx, metrics, reg, false)
		if err != nil {
			return err
		}
		defer end()
	}
	log.Info("simulate: begins", "run", fleet.RunID(), "hub", s.Target(), "address", s.Address, "protocol", s.Protocol, "signIn", s.SignIn, "devices", len(s.Devices),
		"first", s.Devices[0], "last", s.Devices[len(s.Devices)-1], "messages", s.MessageCount)
	end := w.follow(fleet, line, log)
	res, err := fleet.Run(ctx)
	end()
	if res == nil {
		return err
	}
	if out.structured() {
		if werr := out.write(w, res); werr != nil {
			return werr
		}
	} else {
		w.printf("%s", resultText(res))
	}
	if err != nil || res.OK() {
		return err
	}
	return notWell(res)
}

// keysOf returns how devices that are to be created get their keys: the hub makes them unless a group key says them.
func (w *world) keysOf(s *settings.Settings) bulk.Keys {
	if s.GroupKey == "" {
		return nil
	}
	return func(id string) (*hubclient.Auth, error) {
		primary, err := signin.Derive(s.GroupKey, id)
		if err != nil {
			return nil, err
		}
		secondary, err := signin.Derive(primary, id) // nobody needs it, and the registry wants one
		return &hubclient.Auth{Type: "sas", Keys: &hubclient.Keys{Primary: primary, Secondary: secondary}}, err
	}
}

// notWell says in one line what the numbers above mean.
func notWell(r *simulate.Result) error {
	op := "isthmus.simulate"
	if v := r.Verified; v != nil && !v.OK() {
		return fault.Newf(op, fault.Unavailable, "%d messages were lost, %d duplicated, %d reordered, %d unknown", v.Lost, v.Duplicated, v.Reordered, v.Unknown).
			Advise("the first of them are listed above; read all with isthmus hub events")
	}
	what := fault.Newf(op, fault.Unavailable, "%d devices were refused, %d gave up, %d messages were not acknowledged", r.Devices.Refused, r.Devices.GaveUp, r.Messages.Unacknowledged)
	if len(r.Troubles) > 0 {
		return what.Advise("%s", strings.TrimSpace(r.Troubles[0].What+". "+r.Troubles[0].Next))
	}
	return what
}

// resultText renders a result for people.
func resultText(r *simulate.Result) string {
	var b strings.Builder
	row := func(name string, parts ...string) {
		b.WriteString(name + strings.Repeat(" ", 13-len(name)) + strings.Join(parts, ", ") + "\n")
	}
	n := func(v int64, what string) string { return strconv.FormatInt(v, 10) + " " + what }
	u := func(v uint64, what string) string { return strconv.FormatUint(v, 10) + " " + what }
	latency := func(name string, l simulate.Latency) {
		if l.Count == 0 {
			return
		}
		ms := func(name string, v float64) string { return name + " " + strconv.FormatFloat(v, 'f', 1, 64) + " ms" }
		row(name, ms("p50", l.P50), ms("p90", l.P90), ms("p99", l.P99), ms("p99.9", l.P999), ms("max", l.Max))
	}
	row("run", r.Run+" against "+harmless(r.Hub)+" by "+r.Protocol, strconv.FormatFloat(r.Seconds, 'f', 1, 64)+" s")
	row("devices", n(int64(r.Devices.Count), "simulated"), n(r.Devices.Begun, "connected"), n(r.Devices.Finished, "finished"), n(r.Devices.Refused, "refused"), n(r.Devices.GaveUp, "gave up"))
	row("connections", n(r.Connections.Made, "made"), n(r.Connections.Failed, "failed"), n(r.Connections.CutOff, "cut off"), n(r.Connections.Stormed, "cut in storms"), n(r.Connections.Renewed, "renewed"))
	latency("  connect", r.Connections.Connect)
	latency("  reconnect", r.Connections.Reconnect)
	messages := []string{n(r.Messages.Sent, "sent"), n(r.Messages.Acknowledged, "acknowledged"), n(r.Messages.Resent, "resent"), n(r.Messages.Duplicated, "duplicated on purpose")}
	if r.Messages.Deferred > 0 {
		messages = append(messages, n(r.Messages.Deferred, "deferred by the hub"))
	}
	row("messages", append(messages, strconv.FormatFloat(r.Messages.PerSecond, 'f', 1, 64)+" a second")...)
	latency("  latency", r.Messages.Acknowledge)
	for _, t := range r.Troubles {
		row("trouble", strconv.FormatInt(t.Count, 10)+" times: "+harmless(t.What)+" (first "+harmless(t.First)+")")
	}
	if v := r.Verified; v != nil {
		row("verified", u(v.Received, "received of "+strconv.FormatUint(v.Sent, 10)), u(v.Lost, "lost"), u(v.Duplicated, "duplicated"), u(v.Reordered, "reordered"),
			u(v.Unknown, "unknown"), u(v.Repeated, "repeated as sent"), u(v.Unacknowledged, "there without an acknowledgement"))
		for _, f := range v.First {
			row("  first", harmless(f))
		}
	}
	return b.String()
}

const (
	terminalEvery = 500 * time.Millisecond
	logEvery      = 10 * time.Second
)
