// Package amqptext turns what AMQP carries with types of its own into the text that rooms without a wire keep, for the doors that speak AMQP:
// ids, property values, addresses.
//
// Invariants: two ids that mean the same have the same text, whatever type a client wrote them with (SDKs send what looks like a UUID
// as one); nothing here fails: a value that has no text is left out, and says so.
//
// The package holds no state and starts no goroutines.
package amqptext
