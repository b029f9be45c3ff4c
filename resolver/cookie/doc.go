// Package cookie makes and checks DNS server cookies (RFC 7873), by which a resolver knows a client that can receive what is sent to its
// address from one that only claims the address.
//
// The cookies are those of RFC 9018: version 1, a time, and SipHash-2-4 over the client's cookie, both, and the client's address. Several
// servers behind one address that share a secret take each other's, whoever made them.
//
// A [Jar] holds the secret of now and the one before, so that a change takes no client's cookie away. A secret that was not given is made
// by New and changed by Roll. Nothing is remembered of a client. All methods are safe for concurrent use and allocate nothing; there are
// no goroutines: whoever owns the Jar calls Roll.
package cookie
