// Package balance chooses the target for each connection of a gateway: it keeps the groups of targets, resolves their names, checks
// their health, and counts their connections.
//
// It is for package gateway, which asks a [Group] for targets one after the other until one answers, and says what became of each.
//
// Invariants:
//
//   - [Group.Next] does not block, takes no lock and allocates nothing before a target has failed.
//   - Targets that work come first, then those that nobody has tested yet, then those that do not work: a group all of whose targets
//     are down still tries. No target is given twice to one [Attempt].
//   - With resource.BySource a source keeps its target while that target works, in every process that carries the gateway, because only
//     addresses are hashed: whoever leaves or returns moves only the sources that were or become its own.
//   - Every connection is counted from Next until Released, whatever Set did meanwhile.
//   - A target that failed its checks returns after the group's rise; one that refused connections returns after a pause that grows
//     with every time. Without checks one connection tries it first.
//   - What names may lead to is bounded: [MostAddresses] for each name, [MostTargets] for each group.
//
// Run owns all goroutines: one for each target, which checks it, and one for each name, which resolves it. Set, which resolves new
// names before it shows them, waits for them for a bounded time. All methods may be called from any goroutine; those of one Attempt
// from one at a time.
package balance
