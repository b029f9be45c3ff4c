// Package caller makes the calls of clients of REST APIs that are reached in one of two ways: over HTTPS with the connection string of a
// shared access policy, as services of Azure IoT are, or through a local socket, whose file's mode says who may. It signs, dials, sends,
// reads answers, and makes faults of refusals and of ways that lead nowhere; which paths there are, and what they answer, is the business
// of the clients, such as hub/hubclient.
//
// Invariants:
//   - the key signs and is sent to nobody; neither it nor a token is in an error;
//   - what is read of an answer is bounded, unless a caller of Send reads it himself;
//   - a redirect is not followed: no service gives one, so it comes from something in between;
//   - an answer that no service gives is no refusal: its fault is Unavailable and says to look for a proxy.
//
// A Caller starts no goroutine beyond net/http's idle connections, which Close ends. It is safe for concurrent use.
package caller
