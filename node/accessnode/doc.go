// Package accessnode composes what a process needs to let people into machines beside the gate that decides: the journal on its disk, the
// proxy that ends and records SSH, and their talk with the control plane. It is for agentnode and for node's hub processes; like agentnode
// it links no control plane, no hub and no database.
//
// Invariants: the journal outlives whoever writes into it, so that a session which the end of the process cuts is told of; a session goes
// on whether the control plane answers or not.
//
// Access.Run owns its goroutines and returns when these have ended.
package accessnode
