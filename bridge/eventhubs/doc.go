// Package eventhubs is the ends of bridges that speak AMQP 1.0 as Azure Event Hubs does: [NewSource] reads an event hub or an IoT hub's
// built-in endpoint, [NewDestination] writes to an event hub. The service may be Isthmus or Azure's; it is reached through a private
// endpoint and nothing else, over TLS on port 5671 or in a WebSocket on 443 when it has no other.
//
// A bridge proves itself with its workload's token, put to $cbs and renewed five minutes before it lapses, or with a connection string: of
// a namespace or an event hub (Endpoint=sb://…), or of an IoT hub (HostName=…), which is asked where its events are (amqp:link:redirect).
// Wherever that is, it is reached through the same private endpoint, and has to prove to be the host it named.
//
// What is read: the body, of one data section or several; the text or binary of an amqp-value; JSON of anything else. Application
// properties with their types: text, integers, floating point, booleans, times and binary as such, other types as text. Standard
// properties and message annotations become system properties by their names; annotations of the service (x-opt-…) say where an event
// stands, and are nothing else. What was encoded as a UUID is read as its text.
//
// What is written: one data section; application properties, with those that mark what a bridge sends; standard properties in their places;
// every other system property as a message annotation, and the key as the annotation x-opt-partition-key. Isthmus keeps all of that.
// Azure's service keeps application and standard properties and documents nothing about other annotations: who reads there should not rely on
// them. Names that begin with x-opt- or com.microsoft: are the service's and are not written. The partition is the one that Event Hubs' hash
// gives for the key; events without a key stay together by lane.
//
// Isthmus numbers what a bridge sends (as idempotent producers are) and forgets what an older link of the same bridge still had on its way:
// once a batch was sent again, marked as a repeat, its first copy can no longer be stored behind it, unmarked. At Azure that is not asked
// for; there a copy that lay in the service when the connection broke may in rare cases come behind its repeat.
//
// Invariants: events of a partition are read in order, and written in the order of their lane to each partition: a batch is not begun before
// the one in front of it is durable. What is under way when a connection breaks has an error as its outcome, and the next call connects
// anew. A message from outside, however made, costs what it weighs. Reading ahead is bounded in events and bytes.
//
// Each Reader has a connection of its own, so that a slow one does not hold up others. Goroutines: those of connections, one for each of
// them that renews its token, and one of a Source that asks where partitions end; they have ended when Close returns.
package eventhubs
