// Package hubtest is a hub process in a test: two hubs, an event log in memory, a certificate authority, and both doors on loopback.
// It is for the tests of hub's doors only; a whole deployment is testworld.
//
// Start's goroutines belong to the test and have ended when the test's cleanup returns.
package hubtest
