package render

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

// File is one file of an output. Its name is relative and holds no slash.
type File struct {
	Name string
	Body []byte
}

// Output is everything one renderer wrote. The first file is the one to begin with.
type Output struct {
	Files []File
	Notes []string // what the other program does differently, or cannot do
}

func (o *Output) add(name, body string) {
	o.Files = append(o.Files, File{Name: name, Body: []byte(body)})
}

func (o *Output) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	if !slices.Contains(o.Notes, n) {
		o.Notes = append(o.Notes, n)
	}
}

// comments are the notes as lines that begin with a mark.
func (o *Output) comments(mark string) string {
	var b strings.Builder
	for _, n := range o.Notes {
		fmt.Fprintf(&b, "%s %s\n", mark, oneLine(n))
	}
	return b.String()
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// Mode is how another DNS server is to find private names.
type Mode string

const (
	// Forward sends the private names to the network's own resolvers, which know every change at once.
	Forward Mode = "forward"
	// Records writes the addresses down as they are now; somebody has to render again when they change.
	Records Mode = "records"
)

// Site is what a network's resolver knows.
type Site struct {
	Network   string           // ot/plant-7
	Names     []plan.Name      // of approved endpoints and of linked zones
	Zones     []string         // linked zones: names in them that Names lacks do not exist
	Redirect  []string         // those of Zones whose missing names are asked of the public DNS
	Forward   []plan.Forward   // enabled forwarding rules
	Upstreams []netip.AddrPort // for every other name
	Clients   []netip.Prefix   // who may ask; none: private addresses
	Resolvers []netip.AddrPort // where the network's own resolvers answer
}

// check refuses what could be anything else than a name once it stands in another program's file.
func (s *Site) check(mode Mode) error {
	op := "render.Site"
	switch {
	case mode != Forward && mode != Records:
		return fault.Newf(op, fault.Invalid, "%q is no mode", mode).Advise("choose forward or records")
	case mode == Forward && len(s.Resolvers) == 0:
		return fault.Newf(op, fault.Invalid, "the network %s has no resolver that names could be forwarded to", s.Network).
			Advise("run an agent there with --dns ADDRESS:53, name one with --resolver, or render with --mode records")
	}
	return s.harmless()
}

// zoneOf is the longest linked zone that holds a name.
func (s *Site) zoneOf(name string) string {
	best := ""
	for _, z := range s.Zones {
		if (name == z || strings.HasSuffix(name, "."+z)) && len(z) > len(best) {
			best = z
		}
	}
	return best
}

// loose are the names that no linked zone holds: an endpoint's public names, and its private ones where the zone is not declared.
func (s *Site) loose() []plan.Name {
	var out []plan.Name
	for _, n := range s.Names {
		if s.zoneOf(strings.TrimPrefix(n.Name, "*.")) == "" {
			out = append(out, n)
		}
	}
	return out
}

// inside are the names of one linked zone.
func (s *Site) inside(zone string) []plan.Name {
	var out []plan.Name
	for _, n := range s.Names {
		if s.zoneOf(strings.TrimPrefix(n.Name, "*.")) == zone {
			out = append(out, n)
		}
	}
	return out
}

// primaries calls f for each zone another server must be primary for in Records mode: each loose name is one by itself, and so is each name
// of a zone that falls back to public answers, because a server that is primary for the whole zone would say that foreign names do not exist.
func (s *Site) primaries(out *Output, f func(zone string, names []plan.Name)) {
	for _, n := range s.loose() {
		if strings.HasPrefix(n.Name, "*.") {
			out.note("%s is left out: a wildcard needs a zone of its own, so declare its zone", n.Name)
			continue
		}
		f(n.Name, []plan.Name{s.flatten(n)})
	}
	for _, z := range s.Zones {
		if !slices.Contains(s.Redirect, z) {
			f(z, s.inside(z))
			continue
		}
		for _, n := range s.inside(z) {
			f(n.Name, []plan.Name{s.flatten(n)})
		}
	}
}

// addresses follows a name's CNAMEs inside the site to its addresses.
func (s *Site) addresses(name string) []netip.Addr {
	for range 8 {
		i := slices.IndexFunc(s.Names, func(n plan.Name) bool { return n.Name == name })
		if i < 0 {
			return nil
		}
		if n := s.Names[i]; n.CNAME == "" {
			return slices.Concat(n.A, n.AAAA)
		}
		name = s.Names[i].CNAME
	}
	return nil
}

// domains is everything that must go to the network's own resolvers in Forward mode: each loose name by itself, so that other
// people's names under the same public suffix keep their way, and every linked zone.
func (s *Site) domains() []string {
	var out []string
	for _, n := range s.loose() {
		out = append(out, strings.TrimPrefix(n.Name, "*."))
	}
	out = append(out, s.Zones...)
	for _, f := range s.Forward {
		if f.Domain != "." {
			out = append(out, f.Domain)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
