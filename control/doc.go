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
//   - tokens are kept as hashes and compared in constant time; no secret reaches an audit record, a log or an error.
//
// Decided here, where nothing else says: narrowing a service's visibility leaves approved connections as they are, with a warning
// in the change, because cutting a plant off is a decision of its own (remove); widening auto-approval does not approve what
// already waits. An administrator of the deployment acts for every tenant, and is named in the records of each.
//
// The package starts goroutines only inside Run and ends them before it returns. WatchPlan runs on its caller's goroutine. Locks,
// outermost first: Control.writing, the store's one writer, Control.mu, presence.mu.
package control
