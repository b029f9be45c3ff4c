// Package gate lets people come into machines: it is on agents and in hub processes, decides about each stream that a person opens, dials
// the one address or device that the grant's target names, passes the bytes on, and ends the session when it must end.
//
// Invariants:
//
//   - The plan is the only authority. A stream names a grant; whoever is not its person, or comes when it is not in force, reaches
//     nothing, and nobody who comes chooses an address. The machine's owner may narrow what targets can be, never widen it.
//   - What leaves the plan is cut before Set returns. Expiry needs nobody: it holds by the clock of the process, corrected by what is
//     known of the control plane's, and a clock that is set back does not prolong a session that is open.
//   - Each session is told of when it opens and when it ends, and refusals are told of, in bounded numbers: what is beyond is counted.
//   - Sessions, records, waiting and memory are bounded; a target that does not answer harms no other.
//   - Nothing here asks the control plane for anything.
//
// [Gate.Run] has one goroutine, which looks after all sessions; each session has two, and a third one while it dials. They belong to
// Run, which returns when all have ended. All other methods may be called from any goroutine.
package gate
