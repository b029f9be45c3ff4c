// Package connection is one connection of a simulated device: TCP from a chosen source to a chosen address, TLS with the hub's name,
// WebSocket where asked, and MQTT 3.1.1 as a client that publishes.
//
// A [Way] is shared by all devices: it looks the hub's name up, hands out source addresses, and keeps TLS sessions to be resumed. A
// [Conn] is kept small, because there are tens of thousands: one goroutine, a buffer of 64 bytes, and what crypto/tls holds. It reads
// acknowledgements and tells its [Sink]; writing is the caller's, from any goroutine.
//
// Invariants:
//   - the hub's name is what TLS asks for and checks, whatever address is dialled;
//   - a session is never resumed for a device that signs in with a certificate: it would carry another device's;
//   - a Sink is told Ended exactly once, by the connection's goroutine as its last act, and nothing afterwards.
package connection
