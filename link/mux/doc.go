// Package mux carries many streams over one connection: usually mutual TLS 1.3 between two agents, through a relay or directly.
// It is for link/transport, which makes the connections, and for link/flow, which gives and takes the streams. The protocol is
// written down in docs/link-mux.md, its bytes are in wire/tunnel, and docs/performance-mux.md says what was measured.
//
// A [Session] belongs to one connection. [Session.Run] owns everything that runs: one goroutine reads frames, one writes them, and
// Run itself keeps the peer alive; it returns when all of them have ended. A [Stream] has no goroutine. It is a [net.Conn] with a
// truthful half-close, a reset with a code, and back-pressure by credit. Goroutines are not woken where that can be helped: whoever
// calls Write or ReadFrom writes the connection as far as that needs no waiting, and what arrives for a [TryWriter] is given to it by
// the reading goroutine.
//
// Invariants:
//   - The reading goroutine never waits for a user of a stream, nor for the writer, so one slow stream delays no other; a [TryWriter]
//     does not wait.
//   - A user of a stream waits for credit and for room in its queue, never in the kernel, so deadlines, resets and ends find it.
//   - A stream holds at most its window of received bytes, and all streams of a session at most about twice Config.MaxMemory.
//   - What waits to be sent is bounded for each stream and for the session; a writer past the bound waits.
//   - A peer that breaks the protocol ends its session and nothing else.
//   - A slot of Config.MaxStreams is free again when the peer is done with the stream and its owner here has called Close or Reset,
//     so a peer that opens and resets in a hurry cannot make us serve more streams than that.
//
// Locks: Session.mu guards the table of streams and all that is to be sent; Stream.rmu guards what a stream has received. They are
// never held together. Stream.wmu only keeps two writers of one stream apart and is taken before either.
package mux
