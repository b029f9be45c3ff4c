// Package syslog says audit records to log collectors: as messages of RFC 5424, to a collector over TLS (RFC 5425), TCP (RFC 6587,
// clause 3.4.1), UDP (RFC 5426) or a local socket such as /dev/log. It is for whoever watches a deployment with the tools of a whole
// company; what can be checked hash by hash is an export (package audit).
//
// Invariants:
//   - a message is one line of valid UTF-8 without control characters, never longer than its bound, whatever stands in the record; what did
//     not fit is named in it;
//   - a message that Send took is sent again when its connection broke soon after. Syslog has no acknowledgements, so the same record may
//     come twice, and is told by its tenant and sequence.
//
// A Collector owns one goroutine for each connection of a stream, which ends with the connection; Close waits for it.
package syslog
