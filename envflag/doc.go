// Package envflag gives command-line flags their values from the environment, for programs that run in containers, where settings are
// environment variables: --dns-tls-cert of a program with the prefix ISTHMUS_AGENT_ is ISTHMUS_AGENT_DNS_TLS_CERT.
//
// Invariants: what the command line says wins; an empty variable is none; a value that a flag refuses is an error that names the variable
// and does not show the value, which may be a secret.
//
// It has no goroutines and no state.
package envflag
