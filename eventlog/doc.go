// Package eventlog is a durable, partitioned, append-only log on the local disk, for whoever must not lose a message: hubs keep
// telemetry in it, event hubs their events. It knows no protocol.
//
// A [Log] holds streams (one for each hub and each event hub, found by name). A stream has a fixed number of partitions; inside a
// partition events have sequence numbers 0, 1, 2, … without gaps and without duplicates, an offset that grows by the stored size of
// each event, and an enqueued time that never goes back. Events with the same partition key are in the same partition (see [FNV] and
// [Lookup3]), in the order of their appends. A deleted stream is gone at once and whole; one made later under its name has nothing to
// do with it.
//
// What an append promises: when [Log.Append] returns without error, or the callback of [Log.AppendAsync] is given none, the event
// has been fsynced and a power cut does not take it away. An append that failed or was never answered may be there after a restart,
// but then whole. Readers see fsynced events only, so nobody ever reads an event that a crash takes back.
//
// One goroutine, the committer, owns all sequence numbers and is the only writer: it takes everything that waits (bounded in count
// and bytes), writes it as one batch, waits for one fsync, publishes the new ends and hands the answers to a second goroutine, which
// runs the callbacks while the next batch is on its way to the disk. Both belong to [Log.Run]. Appends made before Run wait for it.
// Everything else may be called from any goroutine.
//
// Full disk. The store below treats a failing write-ahead log as the end, so the log stops before that point: when less than
// Config.Reserve is free, appends are refused with fault.Exhausted. Reading and trimming go on, and appends are accepted again as
// soon as there is room. Should others take the reserve too, to the last byte, a write that is under way waits for space, and
// appends are refused all the same (fullfs.go). Nobody has to restart anything.
//
// Broken disk. When a write fails all the same, nothing is known about what reached the disk, and the only honest reaction is to
// stop: the log is marked failed, that batch and every later append are answered with an error, and Run returns it, upon which the
// process is expected to end. Events that were acknowledged before are found again by the next Open. A failed log is not closed
// tidily (Close leaves the store as it is, so that nothing more is written); the process's end releases it.
package eventlog
