// Package throttle allows each of many keys a burst of events and then one every so often. It is for doors that count what strangers
// do wrong, by source address or by name.
//
// Invariants: what strangers can make a [Throttle] hold is bounded, whatever keys they come up with; when it is full, all new keys
// share one allowance, so that nobody gets past it by making up more. A key that has been quiet for long enough costs nothing.
//
// The package starts no goroutines. A Throttle is safe for concurrent use.
package throttle
