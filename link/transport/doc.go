// Package transport is how an agent reaches other agents and is reached by them. It keeps one signalling connection to every relay of
// the plan, makes tunnels to peers when a flow needs one (directly where the peer listens, else through a relay), and takes the
// tunnels that peers make to it. A tunnel is mutual TLS 1.3 between the two agents with a link/mux session inside; a relay in
// between sees ciphertext only.
//
// Who uses it: link/flow opens streams with [Transport.Open] and takes streams through [Transport.Handle]; agent composes.
//
// Invariants:
//
//   - A tunnel exists only after both sides have verified the other's certificate; the side that dials accepts exactly the SPIFFE id
//     it wanted. Whether a stream may pass is not decided here, except for an early no ([Transport.SetAllowed]).
//   - There is at most one attempt to reach a peer at a time, however many flows wait for it, and a peer that could not be reached
//     is not tried again for Config.FailureMemory.
//   - Reconnects back off with full jitter, up to 15 s, and never spin.
//   - A tunnel takes no new streams once either certificate has lapsed, the peer has said GoAway, or the peer is no longer allowed;
//     the streams there are go on. A tunnel that dies resets its streams.
//
// Goroutines: [Transport.Run] owns them all and returns when all have ended: one per relay, the direct listener's, one per tunnel
// and one per inbound stream (in which the handler runs). Open starts attempts that belong to Run, so that a caller who gives up
// does not spoil them for others.
//
// The protocol is written down in docs/link.md and docs/link-mux.md.
package transport
