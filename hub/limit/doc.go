// Package limit says how much of a hub one device, one hub and one tenant may use, by token buckets: so many units a second on
// average, so many at once. It counts; what is counted, and what to say about it, is the hub's business.
//
// Three buckets stand in a row for each [Class]: the device's, the hub's and the tenant's (all hubs of one tenant in this process). A
// unit needs all three. What is refused is not counted anywhere.
//
// Fairness: while more than a quarter of an allowance that is shared is gone, it is counted who takes how much of it. Whoever is ahead of
// its fair share (four fifths of the shared rate, divided by those who came in the last second) is greedy until it falls back, and draws
// on the upper half of the hub's allowance only; the lower half is left to the others. So a runaway device, and a crowd of them, gets
// what the others leave over, and slows only itself. A hub stands to its tenant as a device does to its hub: of the tenant's allowance a
// greedy device does without the last quarter, and so do the devices of a greedy hub; both together do without the last half.
// [Limits.Check] refuses a device's allowance larger than half of its hub's, since it could be gone before anything is counted.
//
// Invariants:
//   - a bucket is one atomic number, and a device's are its own, so that devices meet only at the number of their hub, and of their
//     tenant; nothing on the way of a message takes a lock;
//   - a device that is not held (see [Hub.Hold]) and whose allowances are whole again is forgotten, its troubles after ten minutes; so
//     what is remembered is bounded by what was admitted lately, and by 65,536 names of a hub in any case: beyond those, new names
//     share one allowance.
//
// The package starts no goroutines; everything is safe for concurrent use. Times come from the caller.
package limit
