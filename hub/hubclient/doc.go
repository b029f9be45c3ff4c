// Package hubclient is a Go client of a hub's REST API, for the command line, importers and programs that read events: identities, twins,
// queries, methods, messages to devices and the feedback about them, jobs, configurations, routes, authorities, policies, limits, why a
// device does not work, and Isthmus's stream of events. It speaks over HTTPS with the connection string of a policy, or over the socket file
// in the hub's data directory without one.
//
// A device is named by its id, a module as "device/module". Faults have the hub's words and its code (hub/code); NotFound, Conflict,
// Precondition and Exhausted mean what they mean there.
//
// A Client starts no goroutine beyond net/http's idle connections, which Close ends. It is safe for concurrent use.
package hubclient
