package zonefile

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Bounds of one file.
const (
	MaxBytes    = 64 << 20
	MaxSets     = 500_000
	MaxProblems = 20
)

// Problem is something in a file that keeps it from being taken.
type Problem struct {
	Line  int // 0: the whole file
	Words string
}

// Result is what a file holds.
type Result struct {
	Sets  []*resource.RecordSet // by name; valid, without tenant
	Notes []string              // what was left out on purpose
}

// Read reads the file of one zone (lower case, without trailing dot). A file with a problem gives no record sets: the fault is Invalid
// and its words name every problem with file and line.
func Read(zone, file string, r io.Reader) (Result, error) {
	op := "zonefile.Read"
	if err := resource.ValidateDomain(zone); err != nil {
		return Result{}, err
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return Result{}, fault.Wrap(op, fault.Unavailable, err, "the zone file "+file+" cannot be read: "+err.Error())
	}
	if len(text) > MaxBytes {
		return Result{}, fault.Newf(op, fault.TooLarge, "the zone file %s is larger than %d MiB", file, MaxBytes>>20).Advise("split the zone")
	}
	in := reader{zone: zone, origin: dns.Fqdn(zone), sets: map[string]*resource.RecordSet{}, lines: map[string]int{}}
	in.all(text)
	out := in.finish()
	if len(in.problems) == 0 {
		return out, nil
	}
	slices.SortStableFunc(in.problems, func(a, b Problem) int { return a.Line - b.Line })
	words := make([]string, len(in.problems))
	for i, p := range in.problems {
		where := file
		if p.Line > 0 {
			where += ":" + strconv.Itoa(p.Line)
		}
		words[i] = where + ": " + p.Words
	}
	return Result{}, fault.New(op, fault.Invalid, strings.Join(words, "\n")).Advise("nothing was taken from the file: mend these lines and read it again")
}

type reader struct {
	zone, origin string
	sets         map[string]*resource.RecordSet
	lines        map[string]int // of a set's last record
	problems     []Problem
	notes        []string
	full         bool
}

func (in *reader) problem(line int, format string, args ...any) {
	p := Problem{line, fmt.Sprintf(format, args...)}
	if len(in.problems) < MaxProblems && !slices.Contains(in.problems, p) { // the text is read again after a bad line
		in.problems = append(in.problems, p)
	}
}

func (in *reader) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	if !slices.Contains(in.notes, n) {
		in.notes = append(in.notes, n)
	}
}

// all reads the text again and again, each time without the line the parser stopped at, so that every bad line is found.
func (in *reader) all(text []byte) {
	for range MaxProblems {
		clear(in.sets)
		line, words := in.once(text)
		if words == "" {
			return
		}
		in.problem(line, "%s", words)
		shorter, ok := without(text, line)
		if !ok {
			return
		}
		text = shorter
	}
}

// counted is a text that knows how much of it was read. The parser takes it byte by byte and stops behind a record's last line.
type counted struct {
	*bytes.Reader
	ended int  // lines
	last  byte // that was read
}

func (c *counted) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.last = b
		if b == '\n' {
			c.ended++
		}
	}
	return b, err
}

// line is that of the last byte.
func (c *counted) line() int {
	if c.last == '\n' {
		return c.ended
	}
	return c.ended + 1
}

var atLine = regexp.MustCompile(` at line: (\d+):\d+$`)

func (in *reader) once(text []byte) (line int, words string) {
	at := &counted{Reader: bytes.NewReader(text)}
	parser := dns.NewZoneParser(at, in.origin, "")
	parser.SetDefaultTTL(resource.DefaultTTL)
	n := 0
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if n++; n > 4*MaxSets || len(in.sets) > MaxSets {
			if !in.full {
				in.full = true
				in.problem(0, "it holds more than %d names", MaxSets)
			}
			return 0, ""
		}
		in.take(rr, at.line())
	}
	err := parser.Err()
	if err == nil {
		return 0, ""
	}
	words = strings.TrimPrefix(err.Error(), "dns: ")
	if m := atLine.FindStringSubmatch(words); m != nil {
		line, _ = strconv.Atoi(m[1])
		words = strings.TrimSuffix(words, m[0])
	}
	return line, words
}

// without blanks one line; ok is false when there is no such line or nothing in it.
func without(text []byte, line int) ([]byte, bool) {
	start := 0
	for range line - 1 {
		i := bytes.IndexByte(text[start:], '\n')
		if i < 0 {
			return nil, false
		}
		start += i + 1
	}
	end := len(text)
	if i := bytes.IndexByte(text[start:], '\n'); i >= 0 {
		end = start + i
	}
	if line == 0 || len(bytes.TrimSpace(text[start:end])) == 0 {
		return nil, false
	}
	out := slices.Clone(text)
	for i := start; i < end; i++ {
		out[i] = ' '
	}
	return out, true
}

// take puts one record into its set.
func (in *reader) take(rr dns.RR, line int) {
	h := rr.Header()
	owner := strings.ToLower(h.Name)
	name, inside := strings.CutSuffix(owner, "."+in.origin)
	switch {
	case owner == in.origin:
		name = "@"
	case !inside:
		in.problem(line, "%s is not in the zone %s", h.Name, in.zone)
		return
	}
	if h.Class != dns.ClassINET {
		in.problem(line, "%s has the class %s; private zones hold IN", h.Name, dns.ClassToString[h.Class])
		return
	}
	if name == "@" && (h.Rrtype == dns.TypeSOA || h.Rrtype == dns.TypeNS) {
		in.note("the zone's own %s is left out: a private zone names no servers", dns.TypeToString[h.Rrtype])
		return
	}
	set, known := in.sets[name]
	if !known {
		o, _ := resource.New(resource.KindRecordSet)
		set = o.(*resource.RecordSet)
		set.Metadata.Zone, set.Metadata.Name = in.zone, name
		set.Spec.TTL = h.Ttl
		in.sets[name] = set
	}
	set.Spec.TTL = min(set.Spec.TTL, h.Ttl) // one set has one time to live
	if !fill(&set.Spec, rr) {
		if !known {
			delete(in.sets, name)
		}
		in.problem(line, "%s has a record of type %s, which a private zone cannot hold", h.Name, dns.TypeToString[h.Rrtype])
		return
	}
	in.lines[name] = line
}

func fill(s *resource.RecordSetSpec, rr dns.RR) bool {
	bare := func(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
	switch rr := rr.(type) {
	case *dns.A:
		if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
			s.A = append(s.A, a)
		}
	case *dns.AAAA:
		if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
			s.AAAA = append(s.AAAA, a)
		}
	case *dns.CNAME:
		s.CNAME = bare(rr.Target)
	case *dns.TXT:
		s.TXT = append(s.TXT, plainText(rr.Txt))
	case *dns.MX:
		s.MX = append(s.MX, resource.MX{Preference: rr.Preference, Exchange: bare(rr.Mx)})
	case *dns.SRV:
		s.SRV = append(s.SRV, resource.SRV{Priority: rr.Priority, Weight: rr.Weight, Port: rr.Port, Target: bare(rr.Target)})
	case *dns.PTR:
		s.PTR = append(s.PTR, bare(rr.Ptr))
	case *dns.CAA:
		s.CAA = append(s.CAA, resource.CAA{Flags: rr.Flag, Tag: rr.Tag, Value: rr.Value})
	default:
		return false
	}
	return true
}

// plainText joins the character-strings of a TXT record and takes the parser's escapes back.
func plainText(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		for i := 0; i < len(p); i++ {
			if p[i] != '\\' || i+1 >= len(p) {
				b.WriteByte(p[i])
				continue
			}
			if i+3 < len(p) && isDigit(p[i+1]) && isDigit(p[i+2]) && isDigit(p[i+3]) {
				b.WriteByte(byte(int(p[i+1]-'0')*100 + int(p[i+2]-'0')*10 + int(p[i+3]-'0')))
				i += 3
				continue
			}
			i++
			b.WriteByte(p[i])
		}
	}
	return b.String()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// finish checks each set as if a person had written it.
func (in *reader) finish() Result {
	out := Result{Notes: in.notes}
	for _, set := range in.sets {
		check := *set
		check.Metadata.Tenant = "any"
		if err := check.Validate(); err != nil {
			in.problem(in.lines[set.Metadata.Name], "%s: %s", set.Metadata.Name, fault.Message(err))
			continue
		}
		out.Sets = append(out.Sets, set)
	}
	slices.SortFunc(out.Sets, func(a, b *resource.RecordSet) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	return out
}
