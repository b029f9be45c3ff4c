// Package httpdoor is the control plane's HTTPS door: the REST API for people and programs under /v1, the members' routes under
// /member/v1, the OpenAPI document, and the server that carries them. docs/api.md describes it from outside.
//
// The door translates and decides nothing: who asks is settled here (a bearer token for people, a client certificate for members),
// what they may do is settled in package control, which the door knows through the interface [API].
//
// Invariants:
//   - every error is an RFC 9457 problem document, also those of the router and of the library; the status comes from one table;
//   - an internal cause reaches the log and never a reply; what is not found and what is not visible give the same bytes;
//   - bodies, headers, connections and waiting times are bounded; a JSON field nobody knows is refused with the nearest right name;
//   - who asks is settled before the body is read;
//   - a plan stream ends when its member is removed, its certificate lapses, or the server stops.
//
// New starts nothing. Each plan stream owns one goroutine, which ends with its request. [Serve] ends every connection before it
// returns. Certificates of the server are made when one is needed; no goroutine watches them.
package httpdoor
