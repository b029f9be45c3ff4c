// Command load sends and reads events with the libraries of Azure's Go SDK: go-amqp by itself, against any server of AMQP 1.0, and azeventhubs,
// against event hubs. bench starts it beside the load of its own. The first line on standard input says what to do; once it is connected it
// says idle, begins with the next line, and at the end says what came of it, as JSON.
package main
