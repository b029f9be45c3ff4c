// Package amqpnode brings AMQP connections of a hub process to their doors: one engine for hubs, provisioning services and namespaces of
// event hubs, whether the bytes came over TLS, a WebSocket or, on a developer's machine, plain TCP.
//
// It does what has to be done before a door can be chosen: SASL, by the form of the user's name, and finding the service, by the host name
// in the peer's open, else the name in TLS. What SASL proved for one service is good at no other. Who may speak to which service from which
// side is hub.Server's to say (Enter), as with every other protocol; it is asked again whenever a plan was carried out, and connections that
// may not stay are closed.
//
// A service that has closed its public side may trust some workloads: from there a peer is let in as a guest (EnterTrusted), for event hubs and
// a hub's built-in endpoint alone, and has nothing but $cbs until it has shown such a workload's token. Guests who wait are bounded in number,
// by address, in time and in tries.
//
// Invariants: nothing is believed before a door has proved it; a connection belongs to one service as long as it lives; Handle returns
// when everything of its connection has ended. The package has no goroutines of its own.
package amqpnode
