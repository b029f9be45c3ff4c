// Package inturn runs functions one after the other beside the goroutine that hands them in, for nodes whose deliveries come on a
// connection's goroutine, which must not wait, and have to be worked on in their order. How many wait is bounded by whoever hands them in:
// by the credit of a link.
//
// A [Line] has a goroutine only while there is something to do; it has ended when [Line.Wait] returns. A Line may be used from any goroutine.
package inturn
