// Package socks5 reads what a client of a SOCKS server of version 5 says before its connection is passed on, and writes the server's
// answers: RFC 1928, with "no authentication required" as the one method. It is for the person's side of access, which is such a server.
//
// Invariants:
//
//   - Not a byte behind a message is read: it belongs to whom the client wants to reach.
//   - No message is longer than 262 bytes, and no more is held of one. How long a client may take is the caller's to say, by a deadline.
//   - A host is an IP address in its usual text, without an IPv4 address dressed as IPv6, or a name of printable ASCII in lower case
//     without a dot at its end. It is safe in a log. A port is never 0.
//
// The package has no state and starts no goroutines.
package socks5
