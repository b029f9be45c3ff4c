// Package mqttdoor lets devices register over MQTT 3.1.1 as Azure's provisioning device SDKs do (DPS: communicate using MQTT). It takes
// over a connection whose CONNECT was read and names an id scope instead of a hub, whoever accepted it, over TCP or WebSocket.
//
// It knows one topic to subscribe to and two to publish on; every other ends the connection without a packet, because SDKs overlook a
// refusal in SUBACK. What a device asks is answered in order, and only while it is subscribed.
//
// Invariants:
//   - a device is proved before CONNACK 0, and again with every request, so that a token that ended or an enrollment that was disabled
//     ends what may be done on an open connection; whether its side may speak to the service is asked with every request, too;
//   - answers are JSON of ASCII characters only: the Node SDK reads nothing else;
//   - a connection ends after one and a half keep-alive times of silence (MQTT-3.1.2-24), and when the peer does not read.
//
// A connection runs on its caller's goroutine and has no other.
package mqttdoor
