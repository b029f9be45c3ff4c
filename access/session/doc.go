// Package session is the vocabulary of a session: one connection of a person into a target, as the process that leads there tells it to
// the control plane, and as it stands in the audit log. It has no behaviour beside rules about its own fields.
//
// Invariants: a session is opened once and ended once, or refused; its id is never used again; what a person or a device chose stands
// only in fields that are bounded and printed harmlessly.
//
// It has no goroutines.
package session
