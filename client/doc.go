// Package client is the Go client of the control plane's API (docs/api.md): one method a route, nouns of package resource in and out.
// The command line is written with it; so can be other people's programs, for it imports nothing but the vocabulary.
//
// Invariants:
//   - every error is a fault: what the server refused keeps the server's kind, words and advice; what never reached a server is
//     Unavailable, Timeout or Unauthenticated and says which address was tried;
//   - a request is sent again only when nothing can have happened: to another address when none was sent, and, for reads, after the
//     server said that it is not available;
//   - the server is verified before the token leaves this machine: against the pinned authority, the given roots or the machine's own;
//     a certificate of a deployment's own authority must carry the control plane's identity, any other the host's name;
//   - the token is in no error and no log; replies are bounded.
//
// A Client is safe for concurrent use, starts no goroutines of its own and holds idle connections until Close.
package client
