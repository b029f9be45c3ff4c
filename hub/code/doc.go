// Package code names the refusals of an IoT hub as its documentation does: a number, a name, and the status its REST answers have
// (IoT Hub: troubleshoot, error codes). The core and the rooms above it attach a code where their fault's kind is too coarse; doors write
// the answer from it.
//
// Invariants: every fault has a code, its own or that of its kind; attaching one changes neither kind nor words; the package holds no
// state and starts nothing.
package code
