// Package expiry ends what somebody may have only for a time, when that time is over: for doors, whose connections and links end with the
// token that opened them.
//
// Invariants:
//   - a term is ended once, at its time or later, and never after Remove has returned;
//   - nothing is locked while a term is ended.
//
// One goroutine watches all terms of an [Expiry]; it is there while there is one. Whoever removes the last one waits for it to go.
package expiry
