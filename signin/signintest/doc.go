// Package signintest is an OpenID Connect provider for tests: it signs in whoever it is told to, by code and by device code, publishes its
// keys, and makes any token that somebody might forge. It knows package testing's users only by being started and closed by them; a
// provider that is not ours is in test/oidc.
//
// A Provider is a server on loopback, which Close ends. It is safe for concurrent use.
package signintest
