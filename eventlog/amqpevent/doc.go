// Package amqpevent is an event of the log as an AMQP message and back, for doors that speak AMQP and for readers that do not.
//
// Senders of event hubs encode their events themselves, and consumers get what they encoded, with a few annotations of the service: so an
// event of format [Encoded] has the encoded message as its body, and is kept byte for byte. [Batch] takes a transfer apart into such
// events, [Renderer] puts the annotations into them again. Both work on sections and on pairs of a map; a body is never decoded. Events of
// format 0 are plain: a body with properties, as devices send them over MQTT and HTTPS, which Renderer encodes. [Read] is for those who
// know no AMQP.
//
// Invariants:
//   - of what a sender encoded, delivery annotations, and message annotations that are the service's to set, are not stored; nothing
//     else is changed;
//   - what Batch takes is well formed to the last value, with properties, header and keys of maps of the types that the standard names
//     (3.2): one client cannot store what another's decoder fails on for ever;
//   - whatever bytes are stored, Renderer makes a well-formed message, and neither it nor Read panics;
//   - rendering allocates nothing once its buffer has grown, and copies of an encoded event nothing.
//
// The package starts no goroutine and holds no state.
package amqpevent
