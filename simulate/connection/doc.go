// Package connection is one connection of a simulated device: TCP from a chosen source to a chosen address, TLS with the hub's name,
// WebSocket where asked, and the device's side of MQTT 3.1.1, AMQP 1.0 or HTTPS, as far as a device needs it that sends messages.
//
// A [Way] is shared by all devices: it looks the hub's name up, hands out source addresses, and keeps TLS sessions to be resumed. A
// [Conn] is kept small, because there are tens of thousands: one goroutine that reads, a buffer of 64 to 256 bytes, and what crypto/tls
// holds. It tells its [Sink] what became of messages; writing is the caller's, from any goroutine. What differs among protocols is said at
// Publish, Ping and Renew.
//
// Invariants:
//   - the hub's name is what TLS asks for and checks, whatever address is dialled;
//   - a session is never resumed for a device that signs in with a certificate: it would carry another device's;
//   - every message that Publish wrote is acknowledged or refused once, or the connection ends;
//   - nothing is sent beyond what the hub gives leave for: link credit and window in AMQP, one request at a time in HTTP;
//   - a Sink is told Ended exactly once, by the connection's goroutine as its last act, and nothing afterwards.
package connection
