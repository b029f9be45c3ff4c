package limit

import (
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// Lease is one connection's share of the limits. The zero value is none; it must not be copied once [Limiter.Enter] was called.
// Enter, Rule, Name and Leave of one lease must not be called at the same time.
type Lease struct {
	l      *Limiter
	source *entry[uint64]
	rule   *entry[string]
	name   *entry[string]
}

// Enter takes a connection of a source. Unless it is refused, the lease must be given back by Leave.
func (l *Limiter) Enter(lease *Lease, source netip.Addr) Over {
	e, over := l.sources.enter(sourceKey(source), nil, l.now())
	switch over {
	case overConnections:
		return SourceConnections
	case overRate:
		return SourceRate
	}
	lease.l, lease.source = l, e
	return ""
}

// Rule takes a connection of the rule that let the source in, by its ID. A lease takes one rule.
func (lease *Lease) Rule(id string, limit resource.Limit) Over {
	e, over := lease.l.rules.enter(id, &limit, lease.l.now())
	switch over {
	case overConnections:
		return RuleConnections
	case overRate:
		return RuleRate
	}
	lease.rule = e
	return ""
}

// Name takes a connection of the name the client asks for. A lease takes one name; a client that sends none needs none.
func (lease *Lease) Name(name string) Over {
	e, over := lease.l.names.enter(name, nil, lease.l.now())
	switch over {
	case overConnections:
		return NameConnections
	case overRate:
		return NameRate
	}
	lease.name = e
	return ""
}

// Leave gives back what was taken. The lease is then as new.
func (lease *Lease) Leave() {
	if lease.l == nil {
		return
	}
	now := lease.l.now()
	lease.source.leave(now)
	if lease.rule != nil {
		lease.rule.leave(now)
	}
	if lease.name != nil {
		lease.name.leave(now)
	}
	*lease = Lease{}
}

// Metered tells whether a limit of bytes holds for what was taken, so that Take has to be asked. A caller that is told no
// need not ask for the life of the connection; limits of bytes that come later then hold for new connections only.
func (lease *Lease) Metered() bool {
	limited := func(rate int64) bool { return rate > 0 }
	return limited(lease.source.bytes.rate.Load()) ||
		lease.rule != nil && limited(lease.rule.bytes.rate.Load()) ||
		lease.name != nil && limited(lease.name.bytes.rate.Load())
}

// Take asks for want bytes in either direction. n of them may pass now and are counted; when n is 0, none may before wait has passed.
// It is safe for concurrent use until Leave, and neither blocks nor allocates.
func (lease *Lease) Take(want int) (n int, wait time.Duration) {
	now := lease.l.now()
	n, wait = lease.source.bytes.take(want, now)
	if n > 0 && lease.rule != nil {
		got := n
		n, wait = lease.rule.bytes.take(got, now)
		lease.source.bytes.giveBack(got - n)
	}
	if n > 0 && lease.name != nil {
		got := n
		n, wait = lease.name.bytes.take(got, now)
		lease.source.bytes.giveBack(got - n)
		if lease.rule != nil {
			lease.rule.bytes.giveBack(got - n)
		}
	}
	return n, wait
}
