// Package signin finds out who somebody is by an identity token of an OpenID Connect provider (OpenID Connect Core 1.0). It is for the
// control plane, which decides what such a person may do; package terminal beside it gets the token.
//
// Invariants:
//   - a token counts when all of it does: signature by a key that the provider publishes, asymmetric algorithm, issuer, audience, times;
//     the words of a refusal say which it was;
//   - what a provider, which may be anybody's, can make us do is bounded: where we dial, how long we wait, how much we read, how often we
//     ask, how large its keys are, how many providers we remember;
//   - private, loopback and link-local addresses are not dialled unless the configuration lets them be; the address is looked at after the
//     name was resolved, so no name leads there;
//   - redirects are not followed, and nothing but https is spoken except on loopback;
//   - no token is in an error.
//
// What a token gives (roles, a session) and whether it was used before is the caller's business. A [Verifier] is safe for concurrent use.
// It starts nothing by itself; asking for keys takes a goroutine of the library below, which ends with the request, within
// [Config.Timeout].
package signin
