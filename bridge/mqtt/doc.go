// Package mqtt is the destination of bridges that is an MQTT broker: events are published with quality of service 1, each to the topic that a
// template gives. The broker is reached through a private endpoint and nothing else, on port 8883 with TLS and 1883 without, or the first that
// the service has.
//
// MQTT 5 is spoken (OASIS MQTT Version 5.0): system properties, application properties and the marks of the bridge are user properties,
// each name once, values as text; the content type is in its own place. What the standard does not allow in text becomes U+FFFD. With a
// broker that knows only 3.1.1 the bridge speaks that: there a message is its topic and its body, so marks have no place beside them. A reader that must
// tell repeats apart then needs {origin} and {repeat} in the topic, or a step that puts what it needs into the body; the log says so once.
//
// A topic is made of the template's text and of {device}, {partition}, {origin}, {repeat} (true or false) and {NAME} of application properties.
// A value never makes or ends a level of the topic and never is a wildcard: / + # $ % and what cannot be printed are percent-encoded. An event
// that has no such value is refused.
//
// The secret, where there is one, is user:password, or the user alone. Each lane has a connection with a client identifier of its own, made of
// the bridge's uid and the lane; so a connection that the network has lost is ended by the broker before the next one sends anything.
//
// What is refused for good: an event that is larger than the broker takes, whose topic or payload it calls invalid (reason codes 0x90, 0x95,
// 0x99), or on which alone it ends the connection five times in a row. Everything else waits, with words: quota, rights, a wrong password.
//
// Invariants: a lane's events are published in order, with at most 256 unacknowledged (fewer if the broker says so); an event counts when its
// PUBACK is there. When a connection breaks, what is not acknowledged is sent again in order and marked. After an answer that waiting
// mends, a lane sends one by one until a batch is through. What a broker can make us hold is 64 KiB of one packet and 256 acknowledgements.
//
// Each connection has two goroutines, one that reads and one that keeps it alive; they have ended when Close returns.
package mqtt
