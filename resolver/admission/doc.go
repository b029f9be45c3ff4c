// Package admission says which sources may ask a resolver, and how often.
//
//   - [Sources] is a list of prefixes; asking whether an address is in it takes one binary search.
//   - [Rates] is a token bucket for each source: a single IPv4 address, or an IPv6 /56, which is what one site gets. The table of buckets
//     has a fixed size, so a flood with forged sources cannot grow it; where it is full, the source that has sent least is forgotten.
//   - [Shares] bounds what a source has at a time, of places for instance.
//   - [Report] turns what happens a million times into a line of log now and then.
//
// Sources is never changed once made; Rates and Shares are safe for concurrent use, without locks, and Rates may be wrong by a query or
// two when several processors count for one source at the same time. Nothing is allocated after New. There are no goroutines.
package admission
