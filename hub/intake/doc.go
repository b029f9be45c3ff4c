// Package intake is the bodies of blobs as they come: how long they are, whether they are what their sender says, and how many come at once.
// Doors to blobs use it, whosever blobs they are.
//
// A [Body] is read in pieces, with the connection's deadline pushed along while they come: one that stops coming for a minute ends. Its
// MD5 and CRC-64 are checked when the last piece has come, so whoever reads it has kept nothing until then.
//
// [Turns] bounds how many come at once, in all and of one sender; others wait a while.
//
// The package owns no goroutines. Turns are safe for concurrent use.
package intake
