// Package window aggregates the events of a bridge over windows of their own time: tumbling, hopping and sessions. It is for package
// bridge, which brings batches of each partition, takes rows away, and keeps the state beside the positions in the source.
//
// What always holds: the rows, and their ids, depend on the events of each partition in their order, and on nothing else - not on how
// partitions come mixed, on batches, on restarts or on when anything ran. So:
//
//   - An event is late by what was seen in its own partition before it: in tumbling and hopping windows when the window's end is at or below
//     that partition's latest time less the lateness, in sessions when its time is below that. A late event stays out even if the
//     window still waits for other partitions.
//   - A window closes when the least of the partitions' latest times, less the lateness, has reached its end; a session when it is beyond.
//   - Sums are exact and rounded once, to the nearest float64, when a row is made; so are means and the sums behind standard deviations.
//     Percentiles are of float64: integers beyond 2^53 are rounded for them. What no float64 can say is null.
//   - first and last go by time, then by partition and place in it.
//
// The one thing that does depend on the clock is a partition that has been idle, which holds no window open. That a window is closed is
// part of the state: rows must be sent only when a snapshot that was taken after Closed gave them is durable, and then no restart makes
// other rows of the same ids. When all partitions are idle, time goes on from the latest event as fast as the clock does, and a clock
// that jumps moves it by no more than half a minute.
//
// Reference tables change when they change: an event is joined with the row that stands in the table when the event is read. After a crash
// events since the last snapshot are read again and joined with what the table says then, so rows of windows that were sent and not
// yet forgotten may differ from what was sent before if a table changed in between; with tables that stand still they cannot.
//
// A session is all events of a group of which none is further than the gap from the next. One that would be longer than its size is cut at
// multiples of the size since 1970.
//
// Groups of open windows, and bytes kept for them, are bounded; beyond, Add returns Exhausted and has taken nothing in. Hopping windows keep a
// group once for each hop, not for each window. The state is proportional to groups, and to different values where countDistinct
// and percentile keep them.
//
// A Window is not safe for concurrent use but for the refreshing of its tables, whose goroutines belong to it and end with Close.
package window
