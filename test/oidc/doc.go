// Package oidc signs people in at an OpenID Connect provider that is not ours: oidc-provider, a certified one for Node.js, on loopback. The
// control plane, its door, its client and the ways of a terminal are the real ones; the browser is an HTTP client that fills in the
// provider's own pages. It holds tests only. They need node with the packages in package-lock.json, which `make deps` installs, and fail
// without them.
package oidc
