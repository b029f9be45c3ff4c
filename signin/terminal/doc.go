// Package terminal signs a person in at an OpenID Connect provider from a command line, and returns the identity token: [Code] over a
// browser on this machine (authorization code with PKCE, RFC 7636, and a loopback redirect, RFC 8252), [Device] over a browser anywhere
// (device authorization, RFC 8628). What the token is worth is found out by whoever it is for.
//
// Invariants:
//   - the client is public: there is no secret, and the code is worth nothing without the verifier, which never leaves this process;
//   - only an answer that carries the state this process drew is looked at, in constant time; any other leaves it waiting;
//   - the listener is on 127.0.0.1, answers one path, and is gone when Code returns;
//   - nothing that a provider writes reaches the person's terminal with control characters in it.
//
// Both block until the person is done, the context ends, or the provider's own time is up. The server of [Code] is the only goroutine,
// and has ended when it returns.
package terminal
