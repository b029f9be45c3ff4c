// Package bridgenode composes what carries bridges in a process: the core with its sources, destinations, functions, windows, contracts and
// dead letters, reached through the private endpoints of the process's agent and with its identity. It is apart from node/agentnode so that
// the slim agent links none of it.
//
// Everything it starts ends with Run.
package bridgenode
