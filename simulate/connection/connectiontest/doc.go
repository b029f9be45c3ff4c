// Package connectiontest is the hub's end of a simulated device's AMQP connection, for tests: it lets the device in, takes its tokens,
// reads its messages, and says of them what the test wants.
//
// A [Hub] belongs to one goroutine. It keeps nothing but what it counts, and starts none.
package connectiontest
