// Package exchange answers requests that come on one link with messages on another, as AMQP nodes such as $cbs and $management do.
//
// A request is answered on the link its peer receives on, of the same session and the same node: clients do not agree on what they write
// into reply-to (one the name of that link, another its target), so reply-to only decides when a session has several, and finds the link
// when the session has none. Either of the two links may come first, a connection may have many pairs, and a session may end right after
// its answer.
//
// Invariants:
//   - requests of one link are answered in their order, one at a time; those of different links do not wait for each other;
//   - an answer is settled, and has the message-id of its request as correlation-id, of the same type;
//   - a request is settled once it was answered: so no more of them wait than a link was given credit for, and each is bounded;
//   - a request without a message-id, or which is no message, is rejected, since no answer would be known to be its;
//   - an answer that cannot be sent within a while (no link for it, or no credit on it) is dropped, and its request accepted all the same.
//
// A link has a goroutine only while requests wait on it. All of them have ended when [Node.Wait] returns after the connection's end.
package exchange
