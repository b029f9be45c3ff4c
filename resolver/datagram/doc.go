// Package datagram receives and answers UDP in batches: one system call takes what has arrived, answers are written into the buffers
// of the outgoing batch, and one system call sends them. It is for the resolver, whose own work on a query is less than what the
// kernel charges for a datagram.
//
// [Listen] opens one address with several sockets (SO_REUSEPORT), between which the kernel spreads clients by their address, so
// that readers share nothing. A reader makes a [Batch] of its socket, and in a loop calls Read, looks at each Packet, says its
// Answer, and calls Flush. An answer that takes longer keeps the datagram's [Return] and goes out by [Socket.Send].
//
// An answer leaves from the address that was asked, also on a socket bound to all addresses, where the kernel would choose another
// by its routes and clients would drop it.
//
// Nothing is allocated for a datagram. On platforms without recvmmsg a batch is one datagram and Listen opens one socket.
// A Batch belongs to one goroutine, a Socket to all; the package starts none. Close ends a Read that waits.
package datagram
