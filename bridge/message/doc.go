// Package message is events as expressions see them: the content is the body, the metadata (@name) are the application's properties and
// the hub's, and device, module, partition, sequence, enqueued and key. It is for steps, contracts, windows and whoever else evaluates
// Bloblang over events.
//
// Expressions can reach nothing but the event: no files, no environment, no network, no other messages. The package keeps no state and
// starts no goroutines; an [Expression] is safe for concurrent use, a [View] is not.
package message
