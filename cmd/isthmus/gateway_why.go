package main

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/gateway/gatewayclient"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// gatewayAsking is a question about a connection, and who is asked.
type gatewayAsking struct {
	w       *world
	n       *connection
	process process
	files   []string
	gateway string
	source  string
	exit    bool
	out     output
	q       decide.Question
}

func newGatewayWhy(w *world) *cobra.Command {
	a := &gatewayAsking{w: w}
	var port int
	c := &cobra.Command{
		Use:   "why --source IP",
		Short: "Say what a gateway would do with a connection, and which rule decides",
		Long: `Say what a gateway would do with a connection: which listener takes it, which rules hold for its source, port and name, which of them decides and
which do not hold and why, and where the name leads. One of three is asked:

  --gateway TENANT/NETWORK/NAME  the control plane, by the gateway's newest plan
  --config FILE                  a file, before it is put in force
  neither                        the process that runs here, which also knows its targets' health and how much of the limits is used

The exit code is 0 whatever the answer; with --exit-code it is 1 when the connection would be refused.`,
		Example: `  isthmus gateway why --gateway ot/ot-cloud/front --source 203.0.113.9 --sni contoso.azure-devices.net --port 8883
  isthmus gateway why --config front.yaml --source 203.0.113.9 --port 8883 --exit-code
  isthmus gateway why --source 203.0.113.9`,
		Args: cobra.NoArgs,
	}
	a.n = addConnection(w, c)
	a.process.addDir(c, "gateway")
	f := c.Flags()
	f.Lookup("data-dir").Usage = "`DIR` of the process on this machine that is asked: a gateway, or an agent that carries gateways"
	f.StringVar(&a.source, "source", "", "the `IP` address a client comes from")
	f.StringVar(&a.q.Name, "sni", "", "the `NAME` it asks for in the ClientHello; none when absent")
	f.IntVar(&port, "port", 0, "the `PORT` it dials; the first listener's when absent")
	f.StringVar(&a.q.Listener, "listener", "", "the `NAME` of the listener, where the port does not tell")
	f.StringVar(&a.gateway, "gateway", "", "`TENANT/NETWORK/NAME` of the gateway; with --config or --data-dir one of those there")
	f.StringSliceVarP(&a.files, "config", "f", nil, "`FILE` or directory with a Gateway and its Allowlists")
	f.BoolVar(&a.exit, "exit-code", false, "exit with 1 when the connection would be refused")
	a.out.addTo(c, "text", outJSON, outYAML)
	completeFlag(a.n, c, "gateway", resource.KindGateway)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if a.source == "" {
			return usagef("--source is missing").advise("give the address a client comes from, such as --source 203.0.113.9")
		}
		var err error
		if a.q.Source, err = netip.ParseAddr(a.source); err != nil {
			return usagef("--source %q is no IP address", a.source).advise("give the address a client comes from, such as 203.0.113.9 or 2001:db8::1")
		}
		if port < 0 || port > 65_535 {
			return usagef("--port %d is none", port).advise("give the port a client dials, from 1 to 65535")
		}
		a.q.Port = uint16(port)
		switch {
		case len(a.files) > 0 && f.Changed("data-dir"):
			return usagef("--config and --data-dir are two different gateways").advise("leave one of them out")
		case len(a.files) > 0:
			return a.file()
		case a.gateway != "" && !f.Changed("data-dir"):
			return a.plane(c.Context())
		}
		return a.here(c.Context(), f.Changed("data-dir"))
	}
	return c
}

// completeFlag completes a flag with the names of nouns.
func completeFlag(n *connection, c *cobra.Command, flag string, kind resource.Kind) {
	_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) { // the flag exists
		return n.completing(c, func(ctx context.Context, s *session) []string { return paths(ctx, s, kind) })
	})
}

// plane asks the control plane.
func (a *gatewayAsking) plane(ctx context.Context) error {
	s, err := a.n.open()
	if err != nil {
		return err
	}
	defer s.Close()
	key, err := parseName(resource.KindGateway, a.gateway, s.tenant)
	if err != nil {
		return err
	}
	done := s.wait()
	x, err := s.WhyGateway(ctx, key, client.GatewayQuestion(a.q))
	done()
	if err != nil {
		return err
	}
	e := decide.Explanation{
		Gateway: x.Gateway, Source: x.Source, Name: x.Name, Listener: x.Listener, Port: x.Port, Allowed: x.Allowed, Reason: x.Reason,
		Summary: x.Summary, Next: x.Next, Rule: x.Rule, Omitted: x.Omitted, Steps: x.Steps,
	}
	for _, r := range x.Rules {
		e.Rules = append(e.Rules, decide.RuleAround(r))
	}
	notes := x.Notes
	if len(x.CarriedBy) > 0 {
		notes = append([]string{"it is carried by " + strings.Join(x.CarriedBy, ", ")}, notes...)
	}
	return a.print(x, e, "by the control plane's newest plan", notes)
}

// file asks files.
func (a *gatewayAsking) file() error {
	list, err := gatewaysOf(a.w, a.files)
	if err != nil {
		return err
	}
	g, err := a.choose(list)
	if err != nil {
		return err
	}
	x := decide.Why(*g, a.q, a.w.clock.Now())
	return a.print(x, x, "by "+strings.Join(a.files, ", "), nil)
}

// choose finds the gateway that is meant: the one named, the only one, or the only one that listens on the port.
func (a *gatewayAsking) choose(list []plan.Gateway) (*plan.Gateway, error) {
	var names []string
	var fit []*plan.Gateway
	for i := range list {
		g := &list[i]
		names = append(names, g.Name)
		if a.gateway != "" {
			if g.Name == a.gateway || strings.HasSuffix(g.Name, "/"+a.gateway) {
				return g, nil
			}
			continue
		}
		if len(list) == 1 || slices.ContainsFunc(g.Listeners, func(l resource.GatewayListener) bool { return l.Port == a.q.Port }) {
			fit = append(fit, g)
		}
	}
	if len(fit) == 1 {
		return fit[0], nil
	}
	if a.gateway != "" {
		return nil, fault.Newf("isthmus.gateway", fault.NotFound, "%s holds no gateway %s", strings.Join(a.files, ", "), a.gateway).
			Advise("it holds %s", strings.Join(names, ", "))
	}
	return nil, usagef("%s holds several gateways", strings.Join(a.files, ", ")).advise("say which with --gateway: %s", strings.Join(names, ", "))
}

// here asks the process on this machine.
func (a *gatewayAsking) here(ctx context.Context, said bool) error {
	g := gatewayclient.New(a.process.dataDir)
	defer g.Close()
	x, err := g.Why(ctx, a.gateway, a.q)
	if f, ok := asFault(err, fault.Unavailable); ok && !said {
		return f.Advise("name a gateway with --gateway TENANT/NETWORK/NAME, a file with --config, or the data directory of one that runs with --data-dir")
	}
	if err != nil {
		return err
	}
	return a.print(x, x.Explanation, "by the process that runs here", uses(x))
}

// uses says what could still stand in the way: connections that are counted, and targets.
func uses(x gateway.Explanation) []string {
	if !x.Allowed {
		return nil
	}
	out := []string{"the gateway has " + itoa(x.Open) + " of at most " + itoa(x.Most) + " connections"}
	if len(x.Targets) > 0 && !slices.ContainsFunc(x.Targets, func(t balance.TargetStatus) bool {
		return t.State == balance.Up.String() || t.State == balance.Untested.String()
	}) {
		out = append(out, "none of its targets works at the moment: a client is let in, and then most likely finds nobody")
	}
	return out
}

// print writes the whole answer for a program, or the chain for people.
func (a *gatewayAsking) print(whole any, x decide.Explanation, by string, notes []string) error {
	w, paint := a.w, a.w.painter()
	var refused error
	if a.exit && !x.Allowed {
		refused = errSilent
	}
	if a.out.structured() {
		if err := a.out.write(w, whole); err != nil {
			return err
		}
		return refused
	}
	what := "without a name"
	if x.Name != "" {
		what = "for " + x.Name
	}
	if x.Port != 0 {
		what += ", port " + strconv.Itoa(int(x.Port))
	}
	w.printf("%s %s\n%s\n\n", paint(bold, harmless(x.Gateway)), paint(dim, by), harmless(x.Source.String()+" "+what))
	for i, s := range x.Steps {
		w.printf("%3d  %s\n", i+1, harmless(s))
	}
	a.rules(x)
	if len(notes) > 0 {
		w.printf("\n")
	}
	for _, n := range notes {
		w.printf("note: %s\n", harmless(n))
	}
	verdict := red
	if x.Allowed {
		verdict = green
	}
	w.printf("\n%s\n", paint(verdict, harmless(x.Summary)))
	if x.Next != "" {
		w.printf("next: %s\n", harmless(x.Next))
	}
	return refused
}

// rules shows the rules around the source.
func (a *gatewayAsking) rules(x decide.Explanation) {
	if len(x.Rules) == 0 {
		return
	}
	w := a.w
	w.printf("\nRules around %s:\n", x.Source)
	var rows [][]cell
	for _, r := range x.Rules {
		ends := ""
		if !r.Expires.IsZero() {
			ends = r.Expires.UTC().Format("2006-01-02")
		}
		row := cells(r.Allowlist+"/"+r.Rule, "", r.Range.String(), r.Why, r.Owner, ends, r.Note)
		if row[1] = actionCell(r.Action); r.Decides {
			row[3].colour = bold
		}
		rows = append(rows, row)
	}
	w.table([]string{"RULE", "ACTION", "RANGE", "WHY", "OWNER", "EXPIRES", "NOTE"}, rows)
	if x.Omitted > 0 {
		w.printf("and %d other rules around it\n", x.Omitted)
	}
}

func actionCell(action resource.RuleAction) cell {
	if action == resource.Deny {
		return cell{string(resource.Deny), red}
	}
	return cell{string(resource.Allow), green}
}
