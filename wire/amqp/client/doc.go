// Package client is the side of AMQP 1.0 that connects (OASIS AMQP 1.0, parts 2 and 5): sessions, links to send and to receive on, and
// requests to nodes that answer, such as $cbs. It speaks over a net.Conn that somebody else made, secured and, where need be, put into a
// WebSocket, and knows nothing of hubs, addresses or what a message means.
//
// A [Sender] sends messages that are encoded already and tells the outcome of each; many may be under way. A [Receiver] gives its peer
// leave to send as its reader consumes, and hands out messages in batches, each a piece of memory that is the reader's from then on: a
// message is copied once, from the connection's buffer. A [Requester] asks and waits for the answer.
//
// Invariants:
//   - what a peer can make a Conn hold is bounded: frames by MaxFrame, a message by MaxMessage, messages that wait to be read by Prefetch
//     and PrefetchBytes, answers it does not read by a constant; a disposition costs what is under way, whatever its range;
//   - a receiver that has PrefetchBytes waiting holds up the whole connection until its reader takes some: give large streams
//     connections of their own;
//   - a peer that breaks a rule is told so by close, and the connection is over; what ended comes out of every later call;
//   - errors are faults, and keep what the peer said: errors.AsType[*amqp.Error] finds it;
//   - silence of twice IdleTimeout ends a connection, and the peer hears from us as often as it asked for.
//
// A Conn has two goroutines, one that reads and one that writes; both have ended when Close or Abort returns. Functions given to Start are
// called on the one that reads, with nothing locked, and must not wait. All methods are for any goroutine, but Receiver.Next is for one at
// a time.
package client
