// Package refusals keeps account of the connections a gateway turned away: counted by reason, rule, name and source, logged without
// flooding the log, the latest kept to be looked at. It is for the gateway, which reports each, and for `isthmus gateway refusals`.
//
// Of each reason the first refusal is logged at once, with everything known of it; while more of the same reason come, there is one
// line in every ten seconds, which says how many, from how many sources, and which sources, names and rules stood out. When none came
// for that time, the next is a first one again.
//
// Invariants:
//
//   - What strangers can make a [Ledger] hold is bounded, whatever names and addresses they come with, and so is what it says: a few
//     lines in ten seconds, a few thousand series of metrics.
//   - Every refusal is counted by its reason, exactly. By rule and name it is counted exactly for the first thousands of pairs, and
//     as "other" beyond. By source, counts are exact as long as there are few and never too high beyond, and whoever causes a good
//     part of all refusals is among them.
//   - Metrics carry names of routes, never names that clients made up.
//
// [Ledger.Run] owns one goroutine, the caller's, and writes the last lines when it ends. A Ledger is safe for concurrent use.
package refusals
