// Package engine serves AMQP 1.0 connections: it speaks the protocol of connections, sessions and links (OASIS AMQP 1.0, part 2) and of SASL
// (part 5), and leaves to its user who a peer is, what an address means and what becomes of a message. It knows nothing of the rest of this
// repository but its errors and its clock.
//
// # Model
//
// An [Engine] serves one net.Conn per call of [Engine.Serve], on the caller's goroutine. An [Acceptor] authenticates the peer and looks at its
// open; it returns a [Handler], which is given every [Link] the peer attaches, and accepts or refuses it, at once or later. On a link the peer
// sends on, Accept's Receive is called with each whole message, a [Delivery], which somebody settles: any goroutine, in any order, each exactly
// once. On a link the peer receives on, [Link.Send] takes the message, waits for credit, for the session's window and for room in what waits
// to be written, and Outgoing's Done tells what became of it. Sessions are only the frame around links.
//
// # Goroutines
//
// A connection has one goroutine that reads, that of Serve, and one that writes while there is something to write; one goroutine of the
// engine watches the time of all connections. Handler and Acceptor are called on the goroutine that reads, as is Receive: while they run nothing
// is read, so they must not wait for anything the same peer has to say. Done, OnEnd and Drain are called on that or another goroutine of
// the connection. Nothing is locked while the user's functions run; each may call any method. All other methods are for any goroutine.
//
// One mutex per connection guards its state and that of its sessions, links and deliveries; the watch has one of its own, which is taken inside
// it. Whatever is written goes to one buffer under that mutex, so frames are in the order of the calls that made them, and all that has
// gathered goes out in one write. Dispositions wait until the writer comes: those that stand beside each other become one.
//
// # Ends
//
// Every link that Attach was called with ends once: the peer detaches, ends its session, closes or goes; the link is refused or detached here;
// the peer breaks a rule; Serve's context ends. Then, in this order, Done is called with nil for what is not settled, the functions of OnEnd
// are called, and Context ends; after all links Ended is called, and Serve returns. Conn's Context ends before its links are told. What is
// not complete is dropped. Deliveries stay good until they are settled, which then only gives their room back.
//
// # Bounds
//
// All that a peer can make the engine hold is bounded by [Config], or constants: frames, sessions, handles, a message, all messages that are
// being assembled or not settled, deliveries it does not settle, what waits to be written, SASL's rounds and their size, the time for each.
// Credit is leave to send and never a size; the cost of a disposition depends on what is unsettled and not on its range. A peer that is ahead
// of what is settled is not read any more, and, when that lasts for the idle timeout, or while nothing of what it sends is complete, refused.
//
// Conn's Restrain bounds a peer to what somebody needs in order to prove who he is; what an attach or an open only describes is forgotten when
// it was answered.
//
// A peer that breaks a rule is told by detach, end or close with the condition of the standard, as narrowly as possible, and after its close
// has five seconds to answer. It need not stick to what there is no sense in insisting on: SASL frames and open may be longer than 512 bytes,
// a delivery-tag may be absent, initial-delivery-count too; delivery-ids only have to rise; what it says about deliveries that are settled, or
// were never sent, is not heard. We never detach without closing, so nothing of a link outlives it.
//
// # Left out
//
//   - Transactions: a link to a coordinator is refused with amqp:not-implemented.
//   - Dynamic nodes: likewise.
//   - Resuming: what a peer says of unsettled deliveries when it attaches is not looked at, and our answer names none, so it sends them anew; a
//     transfer that resumes is answered with detach and amqp:not-implemented.
//   - rcv-settle-mode second, where the peer sends: the answer says first. Where the peer receives, what it tells without settling is settled at
//     once, whichever the mode.
//   - TLS inside AMQP (5.2): its header is answered with ours, and the connection closed. Let TLS be below.
package engine
