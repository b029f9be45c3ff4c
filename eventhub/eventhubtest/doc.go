// Package eventhubtest is a namespace of event hubs for tests: a running [World] with an event log in memory, which another world can go
// on with, as the next process does.
//
// Everything ends with the test: a World has the goroutines of the log's and the server's Run, and [World].Stop waits for them.
package eventhubtest
