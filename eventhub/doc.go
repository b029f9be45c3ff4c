// Package eventhub is namespaces of event hubs without a wire: which event hubs a namespace has, who may send to them and read them, and
// how far readers have come. Doors (eventlog/amqpdoor, eventhub/httpdoor) translate protocols into calls of this package and hold no
// state of their own; events are in an eventlog, everything else in store/eventhubstore.
//
// One [Server] is one process and has any number of namespaces. A [Namespace] is known to clients by its host names. Its event hubs and
// their policies and consumer groups are declared by its resource, or made by command beside those. What a connection may see is a
// [Directory]: a namespace, or the built-in endpoint of an IoT hub seen as one event hub.
//
// Invariants:
//   - names of event hubs, consumer groups and policies are compared without regard to case, and keep the spelling they were made with;
//   - what the resource declares cannot be changed or deleted by command; what it does not declare any more stays, with its events, and
//     can then be;
//   - who has no valid signature learns nothing, not even which event hubs and policies there are;
//   - a policy of one event hub opens that one only; a claim is worth nothing any more once the key, the policy or the right behind it
//     is gone ([Claim].Valid), and whoever holds an [Entity] is told when it is deleted or disabled ([Entity].Gone);
//   - a workload may do what its roles in the plan say, and a plan that takes one away ends what stands on it; no role gives a key; where shared
//     keys are switched off only identities count;
//   - an event hub that is deleted is gone with its events before another of the same name can be made;
//   - of two processors that claim the same partition with the same etag, one gets it;
//   - keys appear in no log and no error, and are shown by [Namespace.Keys] and [Namespace.ConnectionString] only.
//
// The package starts no goroutine of its own but those of [Server.Run], which has ended them when it returns. Everything else runs on
// callers' goroutines and is safe for concurrent use.
package eventhub
