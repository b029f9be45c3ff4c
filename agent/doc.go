// Package agent is one process of a network carrying out its plan: it puts the addresses of private endpoints on an interface, listens
// on them, answers the network's names, opens and takes flows over the tunnels of link/transport, and lets people into the machines it
// leads to. It composes; what a plan's line means is decided in the rooms it puts together.
//
// It is for node, which gives it plans from membership. An agent knows nothing of the control plane: with the last plan it goes on for
// as long as its certificate is renewed, and after a restart it begins with the plan on the disk.
//
// Invariants: a plan is carried out whole, what must stop first and what must begin after; a plan made for somebody else changes
// nothing; on the interface, only addresses that this agent put there are ever removed, also those of an earlier life of the process.
//
// Run owns all goroutines and returns when they have ended; the addresses are off the interface then. SetPlan, Problems and Status may
// be called from any goroutine, before, during and after Run.
package agent
