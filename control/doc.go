// Package control decides. It keeps the nouns in order, moves connections between states, lets processes join and proves who they
// are, compiles for each agent the plan of what it must do, and records every change.
//
// It is for doors (control/httpdoor) and for the composition root. Who asks is a [Principal], which a door gets from
// [Control.Authenticate], or an agent's identity, which a door gets from the verified certificate of a connection.
//
// Invariants:
//   - a change and its audit record are one transaction; an apply of many nouns is all or nothing;
//   - a tenant cannot tell a service it may not see from one that does not exist: same kind, same words;
//   - only the provider's tenant decides a connection, and only through resource.Connection.Apply;
//   - an endpoint's address and a link id are given once while they are used, and an endpoint never changes its address;
//   - a plan names only what is Approved at the moment of the commit it was compiled after; an agent that was deleted gets none;
//   - a name belongs to one endpoint of a network, or to one record set of its zones, never to both;
//   - a contract holds with the signatures of both its sides under one text, and no plan has another text than that; either side ends it;
//   - a bridge is in the plan of one process, and no end of it is open that is not approved; what another tenant's services are told of a
//     workload they are told once the two have met: by an approved connection or by a contract;
//   - a change wakes only those whose plans it may change: an allowlist, the processes that carry its gateways;
//   - tokens are kept as hashes and compared in constant time; no secret reaches an audit record, a log or an error.
//
// Decided here, where nothing else says: narrowing a service's visibility leaves approved connections as they are, with a warning
// in the change, because cutting a plant off is a decision of its own (remove); widening auto-approval does not approve what
// already waits.
//
// An endpoint whose name another endpoint of its network has, or for whose name somebody wrote a record set in a linked zone, is refused
// when it is made: the provider who approves it later has no part in that. withoutNames lets it stand beside. Forwarding rules and
// upstreams by which a question would come back to a network it was in are refused when they are written, as far as agents have reported
// where their resolvers answer; what is reported later, resolvers find out by themselves. A gateway's route to what is not there, or not
// approved, is a warning when it is written and a problem in the plan: its names are refused and fall to no wildcard. Rules that expired
// stay in plans, because gateways need them to cut what they let in.
//
// A bridge belongs to the tenant of its source and so do the functions it calls: the contract is enforced behind them. It stays with the
// process that carries it for as long as that is there, alive or not, because another one could not tell the two apart; a process that comes
// and goes is removed after its time, and the bridge moves. What its process reports decides nothing; where it stands goes into the plan of
// the next one.
//
// An administrator of the deployment acts for every tenant, and is named in the records of each.
//
// The package starts goroutines only inside Run and ends them before it returns. WatchPlan runs on its caller's goroutine. Locks,
// outermost first: Control.writing, the store's one writer, Control.mu, presence.mu or carried.mu.
package control
