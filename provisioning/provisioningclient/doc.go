// Package provisioningclient is a Go client of a provisioning service's API for operators, for the command line: enrollments, groups,
// registrations, linked hubs, certificates and policies. It speaks over HTTPS with the connection string of a policy, or over the socket
// file in the data directory of the hub process without one. Devices register with other clients.
//
// A Client starts no goroutine beyond net/http's idle connections, which Close ends. It is safe for concurrent use.
package provisioningclient
