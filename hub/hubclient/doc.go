// Package hubclient is a Go client of a hub's REST API, for the command line and for programs that read events: the identity registry
// and Isthmus's stream of events. It speaks over HTTPS with the connection string of a policy, or over the socket file in the hub's
// data directory without one.
//
// A Client starts no goroutine beyond net/http's idle connections, which Close ends. It is safe for concurrent use.
package hubclient
