// Command bench measures the private path beside a raw TCP connection and beside every comparable program found on PATH, in one
// run on one machine, and prints medians and ratios.
//
//	go run ./bench                     everything, about five minutes
//	go run ./bench -quick              one short round
//	go run ./bench -only isthmus,raw   some subjects
//
// A subject is a way from a client to a server on loopback. Each runs in processes of its own; so do the load's client and server.
// Subjects take turns round by round, so that a machine whose speed drifts treats them alike. Results go to standard output as a
// table and to bench/out/*.json.
//
// Everything listens on loopback, or in network namespaces made for the run (wireguard-go), and stops by itself.
package main
