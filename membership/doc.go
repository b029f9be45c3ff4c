// Package membership is how a process belongs to a deployment: it joins once with a token, keeps and renews its certificate, follows
// its plan, says how it is, and learns what time it is there. Agents, hubs and relays are its users; rooms above them meet the control
// plane through [Member.Call] and [Member.Upload].
//
// [Join] makes a key that never leaves the machine and trades a one-time token for an identity, which it keeps in a directory.
// [Open] reads that directory; [Member.Run] then does the rest until its context ends.
//
// Invariants:
//   - the control plane is recognised by the authority the token named (later: by the roots kept) and by its SPIFFE id, never by a
//     host name, so any address that passes bytes on will do;
//   - every file is written whole or not at all, with mode 0600, and an identity is never overwritten unless told so;
//   - a plan is on disk before it is announced; when the disk refuses, the plan is announced all the same, because it may take a
//     permission away, the plan on disk stays as it was, saving is tried again, and the report says so;
//   - the plan on disk is announced when Run starts, whether the control plane answers or not;
//   - a member that was removed announces an empty plan and Run ends; nothing else ends it but its context;
//   - no failure makes it spin: attempts are apart by an exponential back-off with full jitter.
//
// Run owns three goroutines (plan, renewals, reports), which end before it returns; the plan's has one more while a stream is open.
// A Member is safe for concurrent use. No lock is held over a network call.
package membership
