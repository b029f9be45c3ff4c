// Package verify proves what became of the messages of a simulation: it reads a hub's events back and compares them, device by device,
// with what the devices know they sent.
//
// Each message carries the run it belongs to and its number within its device, from 1, in two properties. A [Checker] takes events in
// the order the hub has them and holds a few words for a device however many messages there are; gaps and repetitions cost more only
// while they last. A message that was acknowledged and is not there is lost. One that is there oftener than it was sent is a duplicate;
// one sent again, on purpose or because its acknowledgement was cut off, may be there as often as it was sent.
//
// A Checker belongs to one goroutine. The package starts none.
package verify
