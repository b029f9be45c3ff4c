// Package limit bounds what one source, one rule and one name may take of a gateway: connections open at once, new connections a
// second, bytes a second. It is for the gateway, which takes a [Lease] for every connection and gives it back at its end.
//
// An IPv6 source is its /64, which is what one subscriber gets. A rate of new connections allows a burst of twice the rate; a rate of
// bytes allows a burst of one second's worth, shared by all connections of the source, rule or name, both directions together.
//
// Invariants:
//
//   - Who holds a connection is never forgotten. Who holds none is remembered for its rates, until they are whole again and somebody
//     else leaves, and never more than [Config.Idle] of a kind are, the longest idle going first. So memory is bounded by the
//     connections the caller admits plus that number, whatever sources a flood comes from.
//   - Limits change while connections are open; the counts stay. Nobody is cut: who is over a new limit opens nothing until below.
//   - What a limit refuses does not count against it.
//   - Rates are kept by the monotonic clock, so that setting the machine's time gives nobody anything.
//
// The package starts no goroutines. A [Limiter] is safe for concurrent use, a lease too once its rule and name are taken. Locks are
// held for the time of a map lookup, in shards chosen by a random hash; bytes are counted without any.
package limit
