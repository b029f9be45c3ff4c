// Package clienthello reads the first message of TLS, the ClientHello, from the bytes a connection begins with: RFC 8446 clause 4.1.2
// for the message, clause 5.1 for the records it comes in, RFC 6066 clause 3 for the name and RFC 7301 clause 3.1 for the protocols.
// It is for those who decide about a connection before they answer it, and who may never answer it: nothing is written, nothing is
// consumed, TLS goes on untouched.
//
// Invariants:
//
//   - The bytes may be cut anywhere and the message may be spread over any number of records: what [Parse] says of some bytes, it
//     says of the same bytes with more behind them. Only [ErrIncomplete] becomes something else.
//   - What is no TLS is told at the first byte that shows it; no length a peer claims makes the package wait for more than
//     [MaxLength] bytes of message.
//   - A reader that waits for as many bytes as [Need] says before it asks again asks a number of times that grows with the logarithm
//     of the length: twice for a hello in one record, some fifty times for 30 kB in records of one byte.
//   - A name is a host name in lower case, without a trailing dot, of letters, digits, hyphens and underscores, or there is none. It
//     is safe in a log, a label and a path.
//
// Of an encrypted ClientHello (ECH) the outer name is seen, which is all a passer-by may know. Extensions the package has no use for,
// GREASE (RFC 8701) among them, are passed over, but none may come twice (RFC 8446 clause 4.2).
//
// The only allocations are the name and, for a message in several records, a copy of it in one piece. The package has no state and
// starts no goroutines.
package clienthello
