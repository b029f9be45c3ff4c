// Package gatewayclient speaks to a gateway process on the same machine, through the socket file in its data directory: its state, what
// it would do with a connection, whom it refused, and that it is to drain. It is for the command line and for programs beside a gateway.
//
// Who may open the file may do everything; there is no other way in. What a process that is none of ours answers is bounded and becomes
// a fault.
//
// A Client starts no goroutine beyond net/http's idle connections, which Close ends. It is safe for concurrent use.
package gatewayclient
