// Package eventhubclient is a Go client of a namespace's HTTP API, for the command line and for programs: event hubs, policies, consumer
// groups, checkpoints and ownerships of processors, and a few events sent or read. Whoever sends or reads many uses an Event Hubs SDK. It
// speaks over HTTPS with the connection string of a policy, or over the socket file in the data directory of the hub process without one.
//
// A Client starts no goroutine beyond net/http's idle connections, which Close ends. It is safe for concurrent use.
package eventhubclient
