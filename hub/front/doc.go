// Package front brings connections to a hub's doors: it accepts TCP, finds out from which side the peer comes, and does TLS.
//
// A connection that begins with a PROXY version 2 header comes from a provider's agent, if the header's proof was made with the link
// key of one of our hubs, for a link that is approved now, and was never used before; it is then bound to that one hub for its whole
// life. A header without such a proof is refused, whoever sent it. A connection without a header is of the public side: TLS is
// completed, and the door refuses it in its own protocol when the hub has no public side.
//
// Invariants:
//   - the certificate shown is that of the name the peer said, of the bound hub when it said none or one we do not have;
//   - a connection is closed when its link is no longer approved, when [Front.Serve]'s context ends, and when it has not come through
//     header and TLS in time; at most Config.MaxConnections exist at once;
//   - whoever is refused here is told to hub.Server.Refuse with words for people.
//
// Serve owns one goroutine a connection, which runs the door's handler, and returns when all of them have ended.
package front
