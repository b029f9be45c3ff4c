// Package mqttdoor lets devices and modules speak MQTT 3.1.1 to a hub, as unmodified Azure IoT device SDKs do (IoT Hub: communicate using
// MQTT). It translates: CONNECT into hub.Connect; PUBLISH on the peer's own topics into messages, requests about its twin and answers to
// methods; PUBACK into the completion of a cloud-to-device message; and what the hub has for the peer into PUBLISH. What carries the bytes
// is front's business: TLS, or a WebSocket in TLS.
//
// It is not a broker: nothing is retained, nothing goes from device to device, and a topic which is not the peer's own ends the
// connection without a packet, because SDKs overlook a refusal in SUBACK.
//
// Invariants:
//   - a PUBACK is sent only after the event log called the message durable, and PUBACKs go in the order of their PUBLISHes
//     (MQTT-4.6.0-2); when the log refuses one, that one and all later ones get none and the connection is closed;
//   - what the hub has for a peer comes after the SUBACK that grants it, and in the hub's order; requests about a twin are answered in the
//     order they came, and what is wrong with one stands in the answer's body;
//   - a cloud-to-device message goes out once a connection; without its PUBACK it comes again, as the same packet and marked DUP. Of
//     subscriptions only that to these messages outlives its connection, with clean session 0; it is kept by the hub;
//   - at most Config.InFlight messages of a connection are on their way to the log; the peer is not read from meanwhile, nor while it has
//     used up its allowance;
//   - what waits to be written to a peer is bounded; one that does not read is closed;
//   - a connection ends when its token does, and after one and a half keep-alive times of silence (MQTT-3.1.2-24).
//
// Ten thousand connections are mostly silent, so one that is costs little: a goroutine with the smallest stack, and no buffer. The reader
// owns a connection's state; when nothing has come for Config.Patience it gives its buffers back and goes on in a fresh goroutine that
// only waits for the next byte (front.Conn.Rest), and handles what comes. The writer is a goroutine that is there while there is something
// to write; so is the one that fetches cloud-to-device messages. One goroutine watches the ends of all tokens. All of a connection's have
// ended when it leaves front (front.Conn.Leave). Callbacks of the log and of the hub only touch the outbox.
package mqttdoor
