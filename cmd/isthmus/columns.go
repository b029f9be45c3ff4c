package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/resource"
)

// columns returns heads and rows of a table of one kind.
func (w *world) columns(kind resource.Kind, objects []resource.Object, wide bool) (heads []string, rows [][]cell) {
	switch kind {
	case resource.KindTenant:
		heads = []string{"NAME", "DISPLAY NAME", "AGE"}
	case resource.KindNetwork:
		heads = []string{"NAME", "RANGES", "AGENTS", "SERVICES", "ENDPOINTS", "AGE", "UPSTREAMS"}
	case resource.KindZone:
		heads = []string{"NAME", "NETWORKS", "RECORD SETS", "AGE"}
	case resource.KindRecordSet:
		heads = []string{"NAME", "TTL", "VALUES", "AGE", "MADE BY"}
	case resource.KindRelay:
		heads = []string{"NAME", "ADDRESS", "LAST SEEN", "AGE", "IDENTITY"}
	case resource.KindAgent:
		heads = []string{"NAME", "ROLE", "STATE", "PROBLEMS", "VERSION", "AGE", "DIRECT ADDRESS", "PLAN", "CERTIFICATE ENDS"}
	case resource.KindService:
		heads = []string{"NAME", "TYPE", "HOST NAME", "PORTS", "CONNECTIONS", "AGE", "TARGET", "VISIBLE TO", "AUTO-APPROVES", "PUBLIC", "ALIAS"}
	case resource.KindPrivateEndpoint:
		heads = []string{"NAME", "SERVICE", "ADDRESS", "STATE", "AGE", "HOST NAMES", "PORTS", "AGENT", "REASON"}
	case resource.KindRuleset:
		heads = []string{"NAME", "NETWORKS", "RULES", "AGE", "DOMAINS"}
	case resource.KindGateway:
		heads = []string{"NAME", "LISTENERS", "ROUTES", "CARRIED BY", "RULES", "PROBLEMS", "AGE", "OPEN TO ALL"}
	case resource.KindAllowlist:
		heads = []string{"NAME", "OWNER", "GATEWAYS", "RULES", "EXPIRED", "AGE"}
	case resource.KindIdentityProvider:
		heads = []string{"NAME", "ISSUER", "ROLES", "AGE", "CLIENT", "SESSION"}
	case resource.KindAccessPolicy:
		heads = []string{"NAME", "APPROVALS", "LONGEST", "RECORDING", "BREAK GLASS", "TARGETS", "AGE", "STANDING", "SOCKS"}
	case resource.KindTarget:
		heads = []string{"NAME", "PROTOCOL", "STATE", "THROUGH", "GRANTS", "SESSIONS", "AGE", "POLICY", "VISIBLE TO", "DESCRIPTION"}
	case resource.KindContract:
		heads = []string{"NAME", "WITH", "STATE", "VERSION", "HOLDS", "UNTIL", "AGE", "MESSAGES", "DIGEST", "PURPOSE"}
	case resource.KindBridge:
		heads = []string{"NAME", "FROM", "TO", "STATE", "CARRIED BY", "LAG", "RATE", "DEAD", "AGE", "CONTRACT", "WHY"}
	case resource.KindRoleAssignment:
		heads = []string{"NAME", "SERVICE", "ROLE", "SCOPE", "WORKLOAD", "KNOWN", "AGE"}
	}
	narrow := slices.Index(heads, "AGE") + 1
	if wide {
		narrow = len(heads)
	}
	for _, o := range objects {
		rows = append(rows, w.row(o)[:narrow])
	}
	return heads[:narrow], rows
}

// row returns all cells of a noun; those after AGE are for the wide table.
func (w *world) row(o resource.Object) []cell {
	m := o.Head().Metadata
	name, age := o.Head().Key().Path(), w.age(m.CreatedAt)
	switch o := o.(type) {
	case *resource.Tenant:
		return cells(name, o.Spec.DisplayName, age)
	case *resource.Network:
		return cells(name, texts(o.Spec.AddressRanges), strconv.Itoa(o.Status.Agents), strconv.Itoa(o.Status.Services),
			strconv.Itoa(o.Status.Endpoints), age, strings.Join(o.Spec.DNS.Upstreams, ","))
	case *resource.Zone:
		return cells(name, zoneNetworks(o), strconv.Itoa(o.Status.RecordSets), age)
	case *resource.RecordSet:
		return cells(name, strconv.Itoa(int(recordTTL(o))), recordValues(o.Spec), age, recordMaker(o))
	case *resource.Relay:
		return cells(name, o.Spec.Address, w.ago(o.Status.LastSeen), age, o.Status.SPIFFEID)
	case *resource.Agent:
		state := w.agentState(o)
		problems := cell{text: strconv.Itoa(len(o.Status.Problems))}
		if len(o.Status.Problems) > 0 {
			problems.colour = red
		}
		r := cells(name, string(o.Spec.Role), "", "", o.Status.Version, age, o.Status.DirectAddress, o.Status.PlanRevision, w.at(o.Status.CertificateEnd))
		r[2], r[3] = state, problems
		return r
	case *resource.Service:
		return cells(name, string(o.Spec.Type), strings.Join(o.HostNames(), ","), servicePorts(o), connectionCounts(o.Status.Connections), age,
			o.Spec.Target, strings.Join(o.Spec.Visibility, ","), strings.Join(o.Spec.AutoApprove, ","),
			first(string(o.Spec.PublicNetworkAccess), string(resource.PublicEnabled)), o.Status.Alias)
	case *resource.PrivateEndpoint:
		r := cells(name, o.Spec.Service, address(o.Status.Address), "", age,
			strings.Join(o.Status.HostNames, ","), numbers(o.Status.Ports), o.Status.Agent, o.Status.Connection.Description)
		r[3] = stateCell(o.Status.Connection.State)
		return r
	case *resource.Ruleset:
		return cells(name, strings.Join(o.Spec.Networks, ","), strconv.Itoa(o.Status.Rules), age, ruleDomains(o))
	case *resource.Gateway:
		problems := cell{text: strconv.Itoa(len(o.Status.Problems))}
		if len(o.Status.Problems) > 0 {
			problems.colour = red
		}
		r := cells(name, listeners(o), strconv.Itoa(len(o.Spec.Routes)), strings.Join(o.Status.Agents, ","), strconv.Itoa(o.Status.Rules), "", age,
			strconv.FormatBool(o.Spec.OpenToAll))
		r[5] = problems
		return r
	case *resource.Allowlist:
		return cells(name, o.Spec.Owner, first(strings.Join(o.Spec.Gateways, ","), "all"), strconv.Itoa(o.Status.Rules), strconv.Itoa(o.Status.Expired), age)
	case *resource.IdentityProvider:
		return cells(name, o.Spec.Issuer, strconv.Itoa(len(o.Spec.Roles)), age, o.Spec.ClientID, o.Spec.Session().String())
	case *resource.AccessPolicy:
		return cells(name, strconv.Itoa(o.Spec.ApprovalsNeeded()), o.Spec.Longest().String(), first(string(o.Spec.Recording), string(resource.RecordingOff)),
			strconv.FormatBool(o.Spec.BreakGlass), strconv.Itoa(o.Status.Targets), age, strconv.FormatBool(o.Spec.Standing), strconv.FormatBool(o.Spec.Socks))
	case *resource.Target:
		r := cells(name, string(o.Protocol()), first(string(o.Spec.State), string(resource.TargetEnabled)), targetWay(o), strconv.Itoa(o.Status.Grants),
			strconv.Itoa(o.Status.Sessions), age, first(o.Spec.Policy, resource.DefaultPolicy), strings.Join(o.Spec.VisibleTo, ","), o.Spec.Description)
		if !o.Enabled() {
			r[2].colour = red
		}
		return r
	case *resource.Contract:
		return contractRow(name, age, w, o)
	case *resource.Bridge:
		return bridgeRow(name, age, o)
	case *resource.RoleAssignment:
		return cells(name, o.Spec.Service, string(o.Spec.Role), first(o.Spec.Scope, "all"), strings.ToLower(string(o.Spec.Workload.Kind))+" "+o.Spec.Workload.Name,
			strconv.FormatBool(o.Status.Known), age)
	}
	return cells(name)
}

// targetWay says through what a target is reached; nothing for people of other tenants, who are not told.
func targetWay(t *resource.Target) string {
	switch d := t.Spec.Device; {
	case d != nil:
		return "device " + d.Device + " of " + d.Service
	case t.Spec.Agent != "":
		return t.Spec.Agent + " to " + t.Spec.Address
	}
	return ""
}

func zoneNetworks(z *resource.Zone) string {
	var out []string
	for _, l := range z.Linked() {
		if l.ResolutionPolicy == resource.NxDomainRedirect {
			l.Network += " (redirect)"
		}
		out = append(out, l.Network)
	}
	return strings.Join(out, ",")
}

// ruleDomains lists what a ruleset forwards; a rule that is off stands in brackets.
func ruleDomains(r *resource.Ruleset) string {
	var out []string
	for _, rule := range r.Spec.Rules {
		if rule.Enabled() {
			out = append(out, rule.Domain)
		} else {
			out = append(out, "("+rule.Domain+")")
		}
	}
	return strings.Join(out, ",")
}

func listeners(g *resource.Gateway) string {
	var out []string
	for _, l := range g.Spec.Listeners {
		at := ":" + strconv.Itoa(int(l.Port))
		if l.Address.IsValid() {
			at = netip.AddrPortFrom(l.Address, l.Port).String()
		}
		out = append(out, l.Name+"="+at)
	}
	return strings.Join(out, ",")
}

func stateCell(s resource.ConnectionState) cell {
	c := cell{text: string(s)}
	switch s {
	case resource.Approved:
		c.colour = green
	case resource.Pending:
		c.colour = yellow
	case resource.Rejected, resource.Disconnected:
		c.colour = red
	}
	return c
}

func (w *world) agentState(a *resource.Agent) cell {
	switch {
	case a.Status.Connected:
		return cell{"connected", green}
	case a.Status.LastSeen.IsZero():
		return cell{"never seen", yellow}
	}
	return cell{"away for " + w.age(a.Status.LastSeen), red}
}

func recordTTL(r *resource.RecordSet) uint32 {
	if r.Spec.TTL == 0 {
		return resource.DefaultTTL
	}
	return r.Spec.TTL
}

func recordValues(s resource.RecordSetSpec) string {
	var out []string
	for _, v := range []struct{ kind, text string }{{"A", texts(s.A)}, {"AAAA", texts(s.AAAA)}, {"CNAME", s.CNAME}} {
		if v.text != "" {
			out = append(out, v.kind+" "+v.text)
		}
	}
	for _, t := range s.TXT {
		out = append(out, "TXT "+strconv.Quote(t))
	}
	for _, m := range s.MX {
		out = append(out, fmt.Sprintf("MX %d %s", m.Preference, m.Exchange))
	}
	for _, v := range s.SRV {
		out = append(out, fmt.Sprintf("SRV %d %d %d %s", v.Priority, v.Weight, v.Port, v.Target))
	}
	for _, p := range s.PTR {
		out = append(out, "PTR "+p)
	}
	for _, c := range s.CAA {
		out = append(out, fmt.Sprintf("CAA %d %s %q", c.Flags, c.Tag, c.Value))
	}
	return strings.Join(out, "; ")
}

func recordMaker(r *resource.RecordSet) string {
	if r.Status.Endpoint == "" {
		return "manifest"
	}
	return "endpoint " + r.Status.Endpoint
}

func servicePorts(s *resource.Service) string {
	var out []string
	for _, p := range s.Ports() {
		text := strconv.Itoa(int(p.Port))
		if p.TargetPort != p.Port {
			text += ">" + strconv.Itoa(int(p.TargetPort))
		}
		out = append(out, text)
	}
	return strings.Join(out, ",")
}

func connectionCounts(counts map[string]int) string {
	var out []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		if counts[state] > 0 {
			out = append(out, fmt.Sprintf("%d %s", counts[state], strings.ToLower(state)))
		}
	}
	return strings.Join(out, ", ")
}

func texts[T fmt.Stringer](values []T) string {
	var out []string
	for _, v := range values {
		out = append(out, v.String())
	}
	return strings.Join(out, ",")
}

func numbers(values []uint16) string {
	var out []string
	for _, v := range values {
		out = append(out, strconv.Itoa(int(v)))
	}
	return strings.Join(out, ",")
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
