// Package amqpdoor lets programs speak to event hubs as the SDKs of Azure Event Hubs do: AMQP 1.0 with the addresses, annotations and error
// conditions of its protocol guide. It translates: $cbs requests into claims, attaches into senders and receivers, transfers into batches
// of the log, events of the log into deliveries, and READ requests to $management into what is known of an event hub. Who a token belongs
// to and what an event hub is, is told by an eventhub.Directory: a namespace, or the built-in endpoint of an IoT hub.
//
// A [Conversation] is one connection. [Door.Converse] makes one that has the connection to itself; [Door.Join] one that shares it with the
// doors of an IoT hub, which keep $cbs and hand over tokens ([Conversation.Put]) and links ([Serves]).
//
// Invariants:
//   - a transfer is accepted only after all of its events are durable, and none is stored unless all are; what is refused is settled as
//     rejected with a condition from one table (condition.go), so that no sender waits for ever;
//   - events are sent settled, in the order of their partition, each once to a link; without credit nothing is read and nothing is held:
//     a receiver that waits has no buffer, whatever credit it gives;
//   - of the receivers of a partition by one consumer group those with an epoch exclude all others, the highest (and of equal ones the
//     newest) wins, and without epoch there are at most five. That holds across all connections of a Door;
//   - a link lives no longer than a claim that covers it: it is detached when the last one lapses, or its key is renewed, and a renewed token
//     keeps it. It ends too when its event hub is deleted or disabled;
//   - who has no claim is not told which event hubs there are.
//
// A receiver has one goroutine, with the smallest stack while it waits; a sender has none. Attaching and answering requests run beside the
// connection's goroutine. One goroutine of the Door watches the time for all conversations (hub/expiry). All of a conversation's have
// ended when [Conversation.Ended] returns.
package amqpdoor
