// Package eventhubs runs unmodified clients of Event Hubs against a namespace of this product, and against a hub's built-in endpoint: the
// SDKs for Node.js and for Go, Microsoft's own live tests of the latter, and Qpid Proton, which nobody made for Event Hubs. What none of
// them lets one say is said frame by frame. It holds tests only.
//
// The SDKs are under a test's hand: driver.js and go/driver are programs that do what they are told in lines of JSON, so that one test is a
// test of both. go is a module of its own, with exact versions, so that the product depends on none of it. Checkpoints are kept in Azurite.
// All of it is installed by `make deps`, and without it the tests fail.
//
// A topic is a file of tests, and covers() ties each to docs/compatibility-event-hubs.md. Tests with a namespace of their own run beside
// each other. With ISTHMUS_SOAK set, those run that take minutes.
package eventhubs
