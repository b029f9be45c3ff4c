// Package mqttdoor lets devices speak MQTT 3.1.1 to a hub, as unmodified Azure IoT device SDKs do (IoT Hub: communicate using MQTT).
// It translates: CONNECT into hub.Connect, PUBLISH on a device's own events topic into hub.Session.Submit, and what the event log
// answers into PUBACK.
//
// It is not a broker: nothing is retained, nothing goes from device to device, and a topic which is not the device's own ends the
// connection without a packet, because SDKs overlook a refusal in SUBACK.
//
// Invariants:
//   - a PUBACK is sent only after the event log called the message durable, and PUBACKs go in the order of their PUBLISHes
//     (MQTT-4.6.0-2); when the log refuses one, that one and all later ones get none and the connection is closed;
//   - at most Config.InFlight messages of a connection are on their way to the log; the peer is not read from meanwhile;
//   - what waits to be written to a peer is bounded; one that does not read is closed;
//   - a connection ends when its token does, and after one and a half keep-alive times of silence (MQTT-3.1.2-24).
//
// A connection has two goroutines, both ended when front's handler returns: the reader, which owns the connection's state, and the
// writer, which also watches the token's end. The log's callbacks only touch the outbox.
package mqttdoor
