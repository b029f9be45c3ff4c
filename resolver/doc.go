// Package resolver is the private DNS of a network: an authoritative and forwarding server inside the network's agent, over UDP and
// TCP.
//
// It answers from one [View], which is what the plan says the network knows: names with their records, zones for which those names
// are the whole truth, and upstreams for everything else. [Resolver.Set] swaps the whole view at once; every query is decided
// against exactly one view, and deciding takes no lock.
//
// A query goes down a short chain of deciders (chain.go), of which the first that has an opinion wins:
//
//  1. a name of the view is answered. A CNAME comes together with what it leads to; a type without value is NODATA, never NXDOMAIN,
//     or dual-stack clients would give up on the name (RFC 2308 section 2)
//  2. another name inside a linked zone does not exist: NXDOMAIN
//  3. all else is forwarded to the upstreams in their order, or refused when there are none (RFC 8914 text says why)
//
// More deciders slot in between without the others knowing.
//
// Answers repeat the question as it was spelled, so that clients which mix cases to make forging harder (0x20) are content.
// Forwarded queries leave from a fresh socket with a random port and identifier, and only an answer from the asked address with
// that identifier and the same question is taken. Nothing is cached: the upstream is one hop away and its cache is shared by all.
//
// What a peer can make the resolver hold is bounded: forwards in flight (the excess gets SERVFAIL), TCP connections, the time of
// each. It never answers a response, so two servers cannot talk to each other for ever.
//
// Goroutines: Run owns the listeners, a few readers for each UDP socket, one goroutine for each TCP connection and each forward in
// flight; it returns when all have ended. An address that cannot be listened on is tried again until it can; [Resolver.Status]
// says so meanwhile.
package resolver
