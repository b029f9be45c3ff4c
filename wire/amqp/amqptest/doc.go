// Package amqptest is an AMQP 1.0 client for tests, benchmarks and fuzzers of servers (OASIS AMQP 1.0, parts 2 and 5). It says what it is
// told, also what the standard forbids, and shows every frame that comes back.
//
// [Conn] is raw: one header or frame at a time, to write and to expect, each call bounded by a context. [Client] stands on it, with
// sessions, [Sender], [Receiver] and [Requester], and keeps many messages in flight.
//
// Invariants:
//   - a Conn starts no goroutine; one goroutine may write to it and another read;
//   - a Client has one goroutine that reads and one that writes, which have ended when Close returns; its methods may be called from any
//     goroutine, and what it calls back runs on the one that reads and must not wait;
//   - a peer's error comes out as the *amqp.Error it sent.
package amqptest
