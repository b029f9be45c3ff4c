// Package journal keeps what happened to sessions of people, and what was recorded of them, on the disk of the process that led there
// until the control plane has taken it. It is for agents and hub processes, whose control plane may be away for weeks.
//
// A [Journal] has a directory. Each life of the process has one of its own below it, locked while the process lives, so that one that
// takes over and one that still drains do not disturb each other. Records are in append-only segments of checked lines, recordings in a
// file each. The first thing [Journal.Run] does, and again every minute, is to take over what dead lives left.
//
// Invariants:
//   - a record goes to the control plane after it was fsynced, in the order of the notes, at least once: who takes them drops repeats by
//     session and phase. Note itself waits for nothing: all that waits goes to the disk with one fsync, as soon as the fsync before it
//     has ended, so that a note is durable after about two of them (some 10 ms on a slow disk), and what was noted is lost only when the
//     machine dies within that time. A disk that refuses does not stop the sending: records then go from memory;
//   - a session that was opened in a life and not ended there is ended as lost by the life that takes it over;
//   - everything is bounded. Too many records: the oldest are dropped, and the next record says how many. Too much recorded: nothing is
//     dropped, but no further recording begins and those under way fail, so that what must be recorded is not let in;
//   - half a line at the end of a segment is what a kill leaves and is passed over; damage before the end is passed over and told;
//   - a recording is sent after the control plane took its session's end, and deleted when it was taken. One whose process died is sent
//     as far as it came;
//   - what the control plane will never take holds nothing up: it is set aside in the folder "refused", and Problems tells.
//
// Run owns three goroutines (disk, records, recordings), which end before it returns. The rest may be called from any goroutine,
// before, during and after Run. Journal.writing is taken before Journal.mu.
package journal
