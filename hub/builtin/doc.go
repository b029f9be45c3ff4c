// Package builtin shows the events of an IoT hub as event hubs (IoT Hub: read device-to-cloud messages from the built-in endpoint), for the
// door that speaks to the SDKs of Event Hubs: the built-in endpoint, and the hub's endpoints of kind stream.
//
//	built-in     iothub-ehub-{hub}-{number}-{digits}, messages/events or events
//	endpoints    by their names
//
// Invariants:
//   - whoever has a policy with ServiceConnect, or as a workload the role Data Receiver, may read, nobody may send: events come from devices and through routes only;
//   - the name of the built-in endpoint is made of the hub's name and its uid, and the same in every process;
//   - the key of a policy is good as text and as base64, since SDKs read it either way; the words of refusals are those SDKs of Event Hubs know;
//   - a claim is worth nothing any more once the key of its policy was renewed, or the role taken away, and an endpoint's readers are told when it is deleted.
//
// The package holds no state and starts no goroutines.
package builtin
