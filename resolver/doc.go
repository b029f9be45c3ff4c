// Package resolver is the private DNS of a network: an authoritative, caching and forwarding server inside the network's agent, over UDP,
// TCP, TLS and HTTPS.
//
// It answers from one [View], which is what the plan says the network knows: names with their records, linked zones for which those
// names are the whole truth, rules that name servers for a domain, and upstreams for everything else. [Resolver.Set] swaps the whole view
// at once; every query is decided against exactly one view, deciding takes no lock, and no query is dropped for it.
//
// The parts are packages of their own: message reads a query, view decides it, cache keeps what others answered, upstream asks them,
// admission says who may ask and how often, cookie knows clients again, datagram is UDP in batches. Here they are put together:
//
//  1. A desk (desk.go) parses a packet, looks at who asks, and has the view decide. An [inquiry] follows the verdict through the cache
//     (inquiry.go) for as long as there are answers: what upstreams say of a CNAME is laid before the view again, for it may lead to one
//     of its names. Names of the view and fresh answers of the cache are replied to at once, and cost no allocation.
//  2. What upstreams must be asked for becomes an exchange (exchange.go), which waits without a goroutine. When they fail, or take longer
//     than clients like to wait, a stale answer is better than none (RFC 8767).
//  3. The reply (reply.go) repeats the question as it was spelled, so that clients which mix cases to make forging harder are content.
//
// A query that goes in a circle is refused with words: one that carries our own token, and one that comes from the server which is asked
// for the very same thing at the moment. Signatures pass through untouched; nothing is validated. Nothing of a client's EDNS options is
// passed on, its subnet (RFC 7871) least of all.
//
// What a peer can make the resolver hold is bounded: forwards in flight (the excess gets what is stale, or SERVFAIL), the cache's bytes,
// connections and how long each may idle, the table of sources. It never answers a response, so two servers cannot talk to each other for
// ever. Who may not ask is refused, a few times a second, which says at once what is wrong; the rest is silence.
//
// Goroutines: Run owns the listeners, a reader for each UDP socket, one goroutine or two for each connection, those of the pool of
// upstreams, and one for each client that a stale answer waits for; it returns when all have ended. An address that cannot be listened on
// is tried again until it can; [Resolver.Status] says so meanwhile.
package resolver
