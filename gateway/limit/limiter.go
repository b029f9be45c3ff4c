package limit

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

// Config bounds what is remembered. The zero value works.
type Config struct {
	Idle int // sources, and as many names, that hold no connection and are remembered for their rates; 65,536
}

// Over says which limit refused a connection, as one short word; "" is none.
type Over string

// The limits there are.
const (
	SourceConnections Over = "source-connections"
	SourceRate        Over = "source-rate"
	RuleConnections   Over = "rule-connections"
	RuleRate          Over = "rule-rate"
	NameConnections   Over = "name-connections"
	NameRate          Over = "name-rate"
)

// Limiter counts the connections and bytes of one gateway.
type Limiter struct {
	clk   clock.Clock
	epoch time.Time

	sources *table[uint64]
	rules   *table[string]
	names   *table[string]
}

// New returns a Limiter without limits.
func New(cfg Config, clk clock.Clock) *Limiter {
	if cfg.Idle <= 0 {
		cfg.Idle = 65_536
	}
	return &Limiter{
		clk: clk, epoch: clk.Now(),
		sources: newTable[uint64](cfg.Idle), rules: newTable[string](cfg.Idle), names: newTable[string](cfg.Idle),
	}
}

// Set puts other limits in force for every source, for every name, and for the rules that connections are open for, which are asked
// for one by one by the ID they were taken with. A rule that is gone has no limit.
//
// Bytes of connections that were opened while nothing limited them stay unlimited, see [Lease.Meter].
func (l *Limiter) Set(source, name resource.Limit, rule func(id string) resource.Limit) {
	l.sources.limit.Store(&source)
	l.names.limit.Store(&name)
	l.sources.each(func(e *entry[uint64]) { e.bytes.rate.Store(source.BytesPerSecond) })
	l.names.each(func(e *entry[string]) { e.bytes.rate.Store(name.BytesPerSecond) })
	l.rules.each(func(e *entry[string]) { e.bytes.rate.Store(rule(e.key).BytesPerSecond) })
}

// Stats is how many sources, rules and names are remembered, and how many of them hold no connection.
type Stats struct {
	Sources     int `json:"sources"`
	Rules       int `json:"rules"`
	Names       int `json:"names"`
	IdleSources int `json:"idleSources"`
	IdleRules   int `json:"idleRules"`
	IdleNames   int `json:"idleNames"`
}

// Stats counts.
func (l *Limiter) Stats() (s Stats) {
	s.Sources, s.IdleSources = l.sources.size()
	s.Rules, s.IdleRules = l.rules.size()
	s.Names, s.IdleNames = l.names.size()
	return s
}

// now is the time since the limiter was made, in nanoseconds.
func (l *Limiter) now() int64 { return int64(l.clk.Now().Sub(l.epoch)) }

// sourceKey is what a source is counted as. IPv4 addresses lie where IPv6 has no networks, in the reserved ::/8.
func sourceKey(a netip.Addr) uint64 {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return 0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}
