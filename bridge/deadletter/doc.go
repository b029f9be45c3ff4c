// Package deadletter keeps the events of one bridge that could not be sent, on the disk of the process that carries it, until somebody
// replays or deletes them or they are too old. They never leave the source's side.
//
// A [Store] is append-only segment files of checked records in a folder of its own, and an index of some 60 bytes a letter in memory. (The event
// log of hubs is no help here: it keeps by time and not by letter, and its engine would cost every bridge megabytes for what is most often
// empty. Letters are few, written once and read by people.)
//
// Invariants:
//   - what Put or PutAll said yes to is on the disk. Those that wait at one time share an fsync;
//   - letters have numbers that rise and are not given twice; lists are in their order;
//   - it is bounded: letters count with at least 1 KiB each, and when MaxBytes of them are kept Put answers Exhausted, which is waited
//     for. Letters older than the retention go by themselves, but never because of a clock that has just jumped: it must have run evenly for an hour;
//   - segments go from the oldest on, when nothing of them is left or more than half of all files is waste; what is left of the oldest is written anew
//     at the end. So what was deleted stays deleted: its mark outlives it;
//   - half a record is what a kill leaves, and is passed over. Damage in the middle costs the records it is in, and is told in the log;
//   - files are readable by their owner only.
//
// It starts no goroutines. A Store is safe for concurrent use; a folder belongs to one Store.
package deadletter
