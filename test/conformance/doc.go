// Package conformance runs the unmodified Azure IoT SDKs for Node.js against a hub and a provisioning service: what they send must arrive, and
// what they are answered must be what they expect. What they hide is said by clients of the tests' own, packet by packet over MQTT and
// performative by performative over AMQP, and mosquitto's clients publish and subscribe too. It holds tests only. They need node with the packages in package-lock.json, and
// mosquitto-clients, all of which `make deps` installs, and fail without them.
//
// A topic is a file of tests and a file of scenarios, and covers() ties both to docs/compatibility.md. A test has the ports that SDKs dial
// to itself, also among the tests of other processes, and waits for nothing longer than patience.
package conformance
