// Package flow is where TCP becomes streams and streams become TCP again: [Endpoints] on the consumer's side listens on the private
// addresses of a network, [Services] on the provider's side decides about each stream that arrives and dials the service's one
// target. Both belong to an agent. [Given] is for connections which somebody else accepted and decided about, [Joined] for streams of
// that kind; both go the same way.
//
// Invariants:
//
//   - The plan is the only authority, on both sides. An endpoint that is not Open has no listener; a stream for which the provider's
//     plan has no approved link, no fitting network or no such port is refused and dials nothing.
//   - What leaves the plan is cut before Set returns: listeners close, sockets get a reset, streams are reset as revoked. What stays
//     in the plan is not touched.
//   - A flow is passed on truthfully: end of data as end of data in each direction by itself, a reset as a reset, back-pressure by not
//     reading, an idle flow as an idle flow for as long as it lives. A lost tunnel is a reset, since bytes may be missing.
//   - Nothing here asks the control plane for anything.
//   - Everything a peer can make us hold is bounded: flows for each listener and link, one buffer for each flow that is moving or
//     stuck, none for one that is idle.
//
// Each listener has one goroutine, each flow two. They belong to Run, which returns when all have ended. Set, Handle, Flows and
// Problems may be called from any goroutine.
package flow
