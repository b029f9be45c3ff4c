// Package connectiontest is the hub's end of a simulated device's AMQP connection, for tests: it lets the device in, takes its tokens,
// reads its messages, and says of them what the test wants. It keeps nothing and starts no goroutine.
package connectiontest
