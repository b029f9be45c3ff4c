// Command isthmus is the whole of Isthmus in one binary: the control plane, relays, agents and hubs, and the command line with which
// people and programs speak to the control plane's API.
//
// One file is one command: flags, wiring and printing. Exit codes: 0 done, 1 failed, 2 used wrongly. What was asked for goes to standard
// output; notes, progress and errors go to standard error. An error is two lines: what happened, then "next:" and what to do.
package main
