// Package node is the composition root: it builds the rooms of one process from its configuration, starts them, and drains them. A
// process is a server (control plane), a relay, an agent or a hub; the command line and the test world start them through here and
// nowhere else.
//
// Each Run function returns when ctx ends and everything it started has ended, or as soon as one part fails, with that part's
// error. Nothing is kept between runs but the data directory.
package node
