// Package relay is the meeting place of agents that can only dial out. It serves one TCP port and tells three sorts of visitor apart
// by their first bytes:
//
//   - a TLS ClientHello that offers ALPN "isthmus-relay/1" is an agent: the relay ends that TLS 1.3 connection, checks the agent's
//     certificate and speaks signalling with it (Ask, Offer, Ticket, Refuse, Ping, Pong); people with a pass come the same way,
//     ask as agents do, and are never offered to anybody;
//   - any other TLS ClientHello is somebody who wants the control plane: the connection is handed, untouched from its first byte, to
//     the configured control address or to a handler in this process;
//   - "ISTHMUS1" begins the preface of a data connection, which carries a single-use ticket. Two connections with the same ticket
//     are a pair, and the kernel moves bytes between them (splice(2) on Linux) until both sides have ended.
//
// Invariants:
//
//   - The relay never holds a key for what a pair carries: the two agents do TLS end to end, after the pairing.
//   - A ticket pairs at most once and lives Config.TicketLife, paired or not.
//   - Everything a visitor can make the relay hold is bounded: visitors in all and per source address, those not yet identified,
//     halves that wait for their other half, unused tickets, questions per agent and per person, frames queued for one agent,
//     connections of one person.
//   - Nobody may be slow: first bytes, handshakes, signalling silence and idle pairs have limits. See [Config].
//   - Ends are passed on truthfully: a half-close as a half-close, a reset as a reset.
//
// Goroutines: [Relay.Serve] owns one per visitor, and a second one (the writer) per connected agent; the two directions of a pair
// run on the goroutines of its two visitors. Serve returns when all of them have ended; a Relay serves one listener, once.
//
// The protocol is written down in docs/link.md.
package relay
