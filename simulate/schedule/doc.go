// Package schedule wakes tens of thousands of owners at moments of their own without a timer or a goroutine for each: a heap for each
// core, whose goroutine sleeps until the earliest moment in it.
//
// An [Entry] stands in its owner; [Schedule.Set] gives it a moment or moves it, and when that comes the schedule calls its fire
// function with the owner, which must not block. Moments that lie within a millisecond may be one waking. [Schedule.Run] owns one
// goroutine a heap and returns when they have ended. Set and Clear are safe for concurrent use, an Entry's with itself, too.
package schedule
