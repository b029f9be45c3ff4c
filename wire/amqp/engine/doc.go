// Package engine serves AMQP 1.0 connections: it speaks the protocol of connections, sessions and links (OASIS AMQP 1.0, part 2), and of
// SASL (part 5), and leaves to its user who a peer is, what an address means and what becomes of a message.
package engine
