// Package clock is the time a room is given: the system's, or one that a test moves by hand. Rooms take a [Clock] in their
// constructor and never call time.Now for a decision (deadlines of sockets excepted, which are the kernel's).
//
// A [Fake] starts no goroutines; its timers fire inside Advance. Both clocks are safe for concurrent use.
package clock
