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
//   - a client certificate is asked for and not required; TLS checks that the peer has its key, and nothing else is checked here;
//   - whoever is refused here is told to hub.Server.Refuse with words for people.
//
// Serve owns one goroutine a connection until the door's handler returns; a handler may keep the connection beyond that (Conn.Keep), with
// goroutines of its own or none. Serve returns when all connections have left.
package front
