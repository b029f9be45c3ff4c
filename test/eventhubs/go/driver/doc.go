// Command driver is the Go SDK of Event Hubs, azeventhubs, under the hand of the tests in test/eventhubs: every line on standard input is
// a request {"id", "do", ...}, every line on standard output the answer to one, {"id", ...} or {"id", "error"}. Requests run beside each
// other. driver.js is the same for the SDK of Node.js, so that one test is a test of both.
//
// It is a module of its own, so that the product depends on no AMQP library. go.mod has the go-amqp that azeventhubs asks for;
// go-amqp-1.7.0.mod has the newest, which go build takes with -modfile.
package main
