// Package carry is the gateway's data plane: it accepts connections, reads a PROXY header and a TLS ClientHello where it is told to,
// asks a [Gate] what to do with each, connects to a target, and passes bytes until both sides have ended.
//
// It is for package gateway, which is the Gate. Two engines stand behind one [Carrier]: on Linux a few workers, each with its own
// listening sockets (SO_REUSEPORT), its own epoll and no goroutine for a connection; elsewhere goroutines.
//
// Invariants:
//
//   - Not a byte goes to a target before the gate has decided, and not one is lost or added by trying another target.
//   - A connection is passed on truthfully: end of data as end of data in each direction by itself, a reset as a reset, back-pressure
//     by not reading. Whoever is refused or cut gets a reset.
//   - Every [Visit] which the gate gave gets Ended exactly once, as its last call.
//   - What a peer can make us hold is bounded: connections by Config.MaxConnections, time before the decision by
//     Entrance.HelloTimeout as a whole, silence by IdleTimeout and HalfIdle. On Linux a connection that is idle, or whose hello is
//     incomplete, holds a small struct and no bytes: those wait in the kernel. Bytes for a slow peer are held in a bounded number of
//     buffers and pipes of each worker.
//   - Listening sockets are never closed over a queue of connections: it is accepted first, or the sockets were handed over.
//
// Run owns all goroutines: the workers (or acceptors and two goroutines for each connection), one that keeps time, and one for each
// connection that was given away by Way.Hand. It returns when all have ended. The other methods may be called from any goroutine;
// Review, Drain and Close not from within a call of Gate or Visit. Of two locks the left one is taken first: Carrier.mu, worker.mu;
// session.calling, session.mu. Only session.calling is held over calls of the gate's.
package carry
