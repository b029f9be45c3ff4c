// Command bench measures isthmus beside every comparable program found on PATH, in one run on one machine, and prints medians and
// ratios. There are seven suites: path (the private path beside raw TCP and tunnels), access (a person's way into a machine beside others' ways to
// forward a port), front (the gateway beside HAProxy), hub (devices over MQTT beside mosquitto), events (AMQP 1.0 beside RabbitMQ), bridge (events
// between two namespaces beside plain Benthos) and names (the resolver beside BIND, Unbound and CoreDNS).
//
//	go run ./bench                     everything, about three quarters of an hour
//	go run ./bench -quick front        one short round of one suite
//	go run ./bench -only isthmus,raw   some subjects
//
// A subject runs in processes of its own; so do the load's two halves. Subjects take turns round by round, so that a machine whose
// speed drifts treats them alike. Results go to standard output as tables and to bench/out/*.json.
//
// Everything listens on loopback, or in network namespaces made for the run (wireguard-go), and stops by itself.
package main
