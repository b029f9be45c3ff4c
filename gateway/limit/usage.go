package limit

import (
	"hash/maphash"
	"net/netip"

	"github.com/isthmus-io/isthmus/resource"
)

// Usage is what somebody takes at the moment.
type Usage struct {
	Source int  `json:"source"` // connections that are open
	Rule   int  `json:"rule"`
	Name   int  `json:"name"`
	Over   Over `json:"over,omitempty"` // what would refuse one more now; "" is nothing
}

// Usage looks without taking anything. The rule is given by its ID, with its limit; rule and name may be empty.
func (l *Limiter) Usage(source netip.Addr, rule string, own resource.Limit, name string) (u Usage) {
	now := l.now()
	say := func(o over, connections, rate Over) {
		switch {
		case u.Over != "":
		case o == overConnections:
			u.Over = connections
		case o == overRate:
			u.Over = rate
		}
	}
	open, o := l.sources.look(sourceKey(source), nil, now)
	u.Source = open
	say(o, SourceConnections, SourceRate)
	if rule != "" {
		open, o = l.rules.look(rule, &own, now)
		u.Rule = open
		say(o, RuleConnections, RuleRate)
	}
	if name != "" {
		open, o = l.names.look(name, nil, now)
		u.Name = open
		say(o, NameConnections, NameRate)
	}
	return u
}

// look is enter without entering.
func (t *table[K]) look(key K, own *resource.Limit, now int64) (open int, o over) {
	limit := own
	if limit == nil {
		limit = t.limit.Load()
	}
	s := &t.shards[maphash.Comparable(t.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil {
		return 0, 0
	}
	if limit.Connections > 0 && e.open >= limit.Connections {
		return e.open, overConnections
	}
	if _, ok := takeOne(e.full, now, limit.PerSecond); !ok {
		return e.open, overRate
	}
	return e.open, 0
}
