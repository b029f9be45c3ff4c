// Package route decides to which endpoints of a hub a message goes and what is added to it on the way (IoT Hub: message routing, message
// enrichments). Routes and enrichments are compiled once into a [Table]; [Table.Match] asks it for one message. Endpoints are names here;
// what is behind them, and how a message gets there, is the hub's business.
//
// Conditions are those of hub/query. They see
//   - x: an application property, as a string;
//   - $contentType, $connectionDeviceId and so on: system properties;
//   - $body.path: the body, if its content type is application/json and its content encoding utf-8, utf-16 or utf-32;
//   - $twin.tags.x, $twin.properties.desired.x, $twin.properties.reported.x: the twin of whoever sent it.
//
// Invariants:
//   - a condition that cannot be evaluated does not hold;
//   - a message goes to an endpoint once, however many routes lead there;
//   - with the fallback route on, a message from a device which no route took goes to the built-in endpoint; no other event does;
//   - body and twin are looked at once, and only when a condition or an enrichment asks for them;
//   - a message is not changed: what is added makes a copy.
//
// A Table is not changed once compiled and is safe for concurrent use. The package starts no goroutines.
package route
