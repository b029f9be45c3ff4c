// Package fault is the one error type that crosses a room or a wire in Isthmus.
//
// A fault says which operation failed (Op), what sort of failure it is (Kind), and gives two sentences made for the person who
// meets it: what happened (Message) and what to do next (Next). The wrapped cause (Err) is for logs only and is never shown to a
// caller in another tenant.
//
// Every door (HTTP, MQTT, AMQP, the command line) has exactly one table from Kind to its own status, next to a test that covers
// [Kinds]. Errors which are not faults are [Internal] and are shown to a caller as such, without their text.
//
// The package has no dependencies, starts no goroutines, and its values are immutable once returned.
package fault
