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
		return cells(name, strings.Join(o.Spec.Networks, ","), strconv.Itoa(o.Status.RecordSets), age)
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
	}
	return cells(name)
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
