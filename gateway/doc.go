// Package gateway is a static public address in front of services: it carries out the gateways of a plan. It listens, asks for every
// connection the allowlists, the limits and the routes, and leads it to a target or into a private endpoint's tunnel, without ever
// ending TLS. It is for whoever runs a process that carries gateways: an agent with that role, or a process of its own with a
// configuration in files.
//
// The parts have rooms of their own: carry accepts and passes bytes, decide and allowlist say yes or no, limit counts, balance knows the
// targets, handover passes sockets on. Here they are put together, live: [Gateway.Set] replaces everything under open connections.
//
// Invariants:
//
//   - Nothing passes that the configuration in force does not allow. When Set returns, or a rule's time is over, connections that are no
//     longer allowed have been reset; those that still are go on, also when another rule allows them now.
//   - A listener that stays keeps its sockets, through every Set and from one process to the next ([Config].Dir): no connection
//     is refused for a reload or an upgrade.
//   - Several processes carry one gateway without knowing of each other; sources that are hashed lead to the same target in each.
//   - Every refusal is counted and told with rule, name and source; a flood of them is not told one by one.
//   - What clients can make us hold is bounded: connections, and what is remembered of sources and names. Labels of metrics come from the
//     configuration, never from clients.
//
// Run owns all goroutines, those of carrier and balancer among them, and returns when they have ended. The other methods may be called
// from any goroutine, at any time.
package gateway
