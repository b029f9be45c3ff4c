// Package bridge carries bridges: it moves events from a hub or event hub to a destination, through steps and under a contract, at least
// once and in order in each partition. It is for processes that a plan gives bridges to; sources, destinations, functions, windows, contracts
// and dead letters are brought to it as interfaces, so it knows no protocol.
//
// A bridge has one lane for each partition of its source. In a lane batches go one after another: read, steps, contract, destination,
// checkpoint; the next batch is read while the one before is written. A lane is a stream of Benthos with an input, processors and an
// output of this package.
//
// What always holds: the checkpoint never passes an event that is not sent, left out by a step, or durable among the dead letters. An event
// that may have been sent before has Event.Repeat; one that has it not was never sent. Trouble with an end is waited out with the lane
// standing still, trouble with an event makes it a dead letter. When Set returns, bridges that may not run read nothing any more and their
// connections are cut.
//
// All goroutines belong to Run and to the bridges in it; they end before Run returns.
package bridge
