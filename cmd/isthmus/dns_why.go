package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver/asker"
	"github.com/isthmus-io/isthmus/resolver/view"
	"github.com/isthmus-io/isthmus/resource"
)

// nameAsking is a question about a name, and who is asked.
type nameAsking struct {
	w        *world
	n        *connection
	files    dnsFiles
	from     string
	qtype    string
	resolver string
	out      output
}

// nameAnswer is how a name is decided, and what a resolver said of it.
type nameAnswer struct {
	client.NameExplanation
	Live     *asker.Reply `json:"live,omitempty"`
	Problems []string     `json:"problems,omitempty"` // why no resolver was asked, or none of those asked first
	next     string
}

func newDNSWhy(w *world) *cobra.Command {
	a := &nameAsking{w: w, files: dnsFiles{w: w}}
	c := &cobra.Command{
		Use:   "why NAME|IP --from TENANT/NETWORK",
		Short: "Say who decides about a name in a network, and what its resolver answers now",
		Long: `Say who decides about a name in a network: the endpoint or record set it comes from, the zone, the forwarding rule or the upstreams, and what else could
have had a say. Then the network's resolver is asked: what it had in its cache and how old, which upstream it asked and how long that took. One that cannot be
reached from here is said to be, and everything else is told; the exit code is 0 whatever the answer.

With --config the first half comes from files, before they are put in force, and no control plane is asked.`,
		Example: `  isthmus dns why contoso.azure-devices.net --from ot/plant-7
  isthmus dns why db.corp.example --type AAAA --from ot/plant-7 --resolver 10.7.0.2
  isthmus dns why 10.7.0.4 --from ot/plant-7
  isthmus dns why db.corp.example --config dns.yaml`,
		Args: cobra.ExactArgs(1),
	}
	a.n = addConnection(w, c)
	f := c.Flags()
	f.StringVar(&a.from, "from", "", "`TENANT/NETWORK` that asks")
	f.StringVar(&a.qtype, "type", "", "the `TYPE` of record: A, AAAA, CNAME, MX, SRV, PTR, TXT, CAA, TYPE65; A when absent, PTR for an IP address")
	f.StringVar(&a.resolver, "resolver", "", "`IP` or IP:PORT of the resolver to ask, instead of those the network's agents reported")
	f.StringSliceVarP(&a.files.manifests, "config", "f", nil, "`FILE` or directory with manifests, instead of a control plane")
	f.StringSliceVar(&a.files.zones, "zone-file", nil, "`ZONE=FILE`: a zone and its zone file, with or instead of --config")
	a.out.addTo(c, "text", outJSON, outYAML)
	completeFlag(a.n, c, "from", resource.KindNetwork)
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"A", "AAAA", "CNAME", "MX", "SRV", "PTR", "TXT", "CAA"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	c.RunE = func(c *cobra.Command, args []string) error { return a.run(c.Context(), args[0]) }
	return c
}

func (a *nameAsking) run(ctx context.Context, text string) error {
	if ip, err := netip.ParseAddr(text); err == nil {
		if a.qtype == "" || strings.EqualFold(a.qtype, "PTR") {
			text, a.qtype = asker.Reverse(ip), "PTR"
		} else {
			return usagef("%s is an address, and has no record of type %s", text, a.qtype).advise("leave --type out to ask for its name")
		}
	}
	a.qtype = first(a.qtype, "A")
	name, err := asker.Name(text)
	if err != nil {
		return usagef("%s", fault.Message(err)).advise("%s", fault.Next(err))
	}
	qtype, err := asker.Type(a.qtype)
	if err != nil {
		return usagef("--type %s", fault.Message(err)).advise("%s", fault.Next(err))
	}
	var ask []netip.AddrPort
	if a.resolver != "" {
		at, err := resource.ParseUpstream(a.resolver)
		if err != nil {
			return usagef("--resolver %q is no address", a.resolver).advise("give an IP address or IP:PORT, such as 10.7.0.2")
		}
		ask = append(ask, at)
	}
	decides := a.plane
	if len(a.files.manifests)+len(a.files.zones) > 0 {
		decides = a.file
	}
	var x nameAnswer
	if x.NameExplanation, err = decides(ctx, name, qtype); err != nil {
		return err
	}
	if len(ask) == 0 {
		ask = dialable(x.Resolvers)
	}
	a.live(ctx, &x, ask, name, qtype)
	if a.out.structured() {
		return a.out.write(a.w, x)
	}
	a.print(x)
	return nil
}

// plane asks the control plane.
func (a *nameAsking) plane(ctx context.Context, name string, _ uint16) (client.NameExplanation, error) {
	if a.from == "" {
		return client.NameExplanation{}, usagef("--from is missing").advise("isthmus dns why %s --from TENANT/NETWORK: names differ from network to network; without a control plane, --config FILE", name)
	}
	s, err := a.n.open()
	if err != nil {
		return client.NameExplanation{}, err
	}
	defer s.Close()
	key, err := parseName(resource.KindNetwork, a.from, s.tenant)
	if err != nil {
		return client.NameExplanation{}, err
	}
	defer s.wait()()
	return s.WhyName(ctx, key, name, a.qtype)
}

// file asks files.
func (a *nameAsking) file(_ context.Context, name string, qtype uint16) (client.NameExplanation, error) {
	a.files.network = a.from
	v, err := a.files.view()
	if err != nil {
		return client.NameExplanation{}, err
	}
	table := view.New(view.View{Names: v.Names, Zones: v.Zones, Redirect: v.Redirect, Forward: v.Forward, Upstreams: v.Upstreams}, 1)
	x := client.NameExplanation{Network: a.from, Name: name, Type: strings.ToUpper(a.qtype), Notes: []client.NameStep{}}
	for _, p := range table.Problems() {
		a.w.note("%s", p)
	}
	for _, s := range table.Explain(name, qtype) {
		x.Steps = append(x.Steps, client.NameStep{What: s.What, Detail: s.Detail})
	}
	return x, nil
}

// mostAsked bounds how many resolvers are tried: all know the same.
const mostAsked = 3

// live asks the first resolver that answers.
func (a *nameAsking) live(ctx context.Context, x *nameAnswer, ask []netip.AddrPort, name string, qtype uint16) {
	if len(ask) == 0 && len(a.files.manifests)+len(a.files.zones) == 0 {
		x.Problems = append(x.Problems, "no agent of the network says where its resolver answers")
		x.next = "start one with isthmus agent run --dns, or name a resolver with --resolver"
	}
	for _, at := range ask[:min(len(ask), mostAsked)] {
		done := a.w.waiting("the resolver " + at.String())
		r, err := asker.Ask(ctx, at, name, qtype, a.w.clock)
		done()
		switch {
		case err != nil:
			x.Problems, x.next = append(x.Problems, fault.Message(err)), fault.Next(err)
		case a.resolver == "" && at.Addr().IsLoopback() && len(r.Steps) == 0:
			x.Problems = append(x.Problems, "an agent's resolver answers at "+at.String()+", on the agent's machine alone; what answers here is another")
			x.next = "ask on the agent's machine, or name a resolver with --resolver"
		default:
			x.Live, x.next = &r, ""
			return
		}
	}
}

func (a *nameAsking) print(x nameAnswer) {
	w, paint := a.w, a.w.painter()
	where := ""
	if x.Network != "" {
		where = ", asked in " + x.Network
	}
	w.printf("%s %s%s\n\n", paint(bold, harmless(x.Name)), x.Type, where)
	w.nameSteps(x.Steps)
	if len(x.Notes) > 0 {
		w.printf("\nAlso:\n")
		w.nameSteps(x.Notes)
	}
	for _, p := range x.Problems {
		w.printf("\n%s %s\n", paint(yellow, "not asked live:"), harmless(p))
	}
	if x.next != "" {
		w.printf("next: %s\n", x.next)
	}
	if r := x.Live; r != nil {
		a.printLive(x, r)
	}
}

func (a *nameAsking) printLive(x nameAnswer, r *asker.Reply) {
	w, paint := a.w, a.w.painter()
	rcode := red
	if r.Rcode == "NOERROR" {
		rcode = green
	}
	w.printf("\nNow, the resolver %s, in %s: %s\n", r.Resolver, r.Took.Round(100*time.Microsecond), paint(rcode, harmless(r.Rcode)))
	for _, rec := range r.Answers {
		w.printf("  %s\n", harmless(rec))
	}
	for _, e := range r.Errors {
		w.printf("  %s\n", harmless(e))
	}
	if len(r.Steps) == 0 {
		w.printf("  it does not explain its answers, as those of Isthmus do\n")
		return
	}
	steps := r.Steps
	if same(x.Steps, r.Steps) {
		steps = slices.DeleteFunc(slices.Clone(steps), func(s asker.Step) bool { return !s.Happened() })
	} else {
		w.printf("  %s\n", paint(yellow, "it decides otherwise: it may not have the newest plan, or serve another network"))
	}
	out := make([]client.NameStep, len(steps))
	for i, s := range steps {
		out[i] = client.NameStep{What: s.What, Detail: s.Detail}
	}
	w.nameSteps(out)
}

// same tells whether a resolver decided as it should.
func same(plan []client.NameStep, live []asker.Step) bool {
	i := 0
	for _, s := range live {
		switch {
		case s.Happened():
		case i == len(plan): // what an upstream said led back into the view
			return slices.ContainsFunc(live, func(s asker.Step) bool { return s.What == "redirect" })
		case s.What != plan[i].What || s.Detail != plan[i].Detail:
			return false
		default:
			i++
		}
	}
	return i == len(plan)
}

// nameSteps writes what had a say, one to a line.
func (w *world) nameSteps(steps []client.NameStep) {
	paint := w.painter()
	most := 0
	for _, s := range steps {
		most = max(most, len(s.What))
	}
	for _, s := range steps {
		if s.What == view.StepQuestion && len(steps) > 1 { // the heading has it
			continue
		}
		how := plain
		switch s.What {
		case view.StepAnswer, "result":
			how = bold
		case view.StepNote:
			how = yellow
		}
		pad := strings.Repeat(" ", most-len(s.What)+2)
		w.printf("  %s%s%s\n", paint(how, harmless(s.What)), pad, harmless(s.Detail))
		if s.Next != "" {
			w.printf("  %snext: %s\n", strings.Repeat(" ", most+2), harmless(s.Next))
		}
	}
}
