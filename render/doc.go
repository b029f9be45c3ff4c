// Package render writes what other programs need to do the work of a gateway or of a resolver: an HAProxy configuration with the same
// decisions as a Gateway, and what BIND, Unbound, dnsmasq, CoreDNS, a hosts file or Docker need so that a site which keeps its own DNS
// finds private names.
//
// It is for people who may not replace what they run, and for those who want to leave. A renderer is a function from what the plan knows
// to files; it reads and writes nothing, starts nothing and keeps nothing. What the other program cannot do stands in [Output.Notes] and
// as a comment in the file, never nowhere.
//
// Invariants:
//   - the same input gives the same bytes, so that a rendered file can be kept under version control and compared;
//   - only names, addresses and ports that resource has validated reach a file, and they are checked again here: nothing a person wrote
//     can end a line and begin a directive of its own;
//   - no secret is ever rendered.
package render
