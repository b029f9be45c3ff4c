// Package amqpdoor lets devices, modules and back ends speak AMQP 1.0 to a hub, as unmodified Azure IoT SDKs do. It translates: a token put
// to $cbs, a password of SASL or a certificate of TLS into claims; the first link of an identity into hub.Connect; transfers into messages,
// requests about its twin and answers to methods; dispositions into the fate of cloud-to-device messages; and what the hub has for a device
// into transfers. Frames, credit and settlement are wire/amqp/engine's business, bytes are front's. Links that are no device's it gives to
// who serves them (Config).
//
// A connection may carry any number of identities, each with its own claim, its own hub.Session and its own end (peer). An identity's
// session begins with its first link and ends with its last.
//
// Invariants:
//   - nobody attaches a link without a claim that is good for it now; when the claim ends, or what it stands on is taken away, the links of
//     the identity are detached, and nobody else's; renewed in time, they stay. Who claims nothing is not kept;
//   - "accepted" is said of a message, or of all messages of a batch, only after the event log called it durable; messages of an identity
//     reach the log in the order they came; what the log or a limit refuses is rejected, by the conditions of one table (hub/code);
//   - a device that sends more than it may holds up itself and no other device of the connection: its messages wait here, at most
//     Config.MaxHeld bytes of a connection and for at most Config.Patience, and beyond that are rejected as throttled;
//   - a cloud-to-device message is given when there is credit for it, to one link; what is not settled when the link ends comes again;
//   - requests about a twin are answered in the order they came, also those on several pairs of links; changes are told only after the answer
//     to the request for them, in the hub's order;
//   - links of a kind come in pairs, which com.microsoft:channel-correlation-id names; an answer goes to the pair its request came from;
//   - a newer link takes the place of an older one of the same identity and kind (409002);
//   - what waits to be sent to an identity is bounded; one that does not take it is detached;
//   - whoever has not proved that he is an identity is told the same whether it exists or not;
//   - secrets stand in no log and in no error; what is refused has a tracking id, in the peer's error and in our log.
//
// Callbacks of the engine run on the connection's goroutine and do not wait but for the event log and the store; those of the hub and of
// the log only touch outboxes. A conversation owns goroutines only while there is something to do: one for an identity that connects, that
// has requests about its twin, whose messages are held back or that is given commands, and one for each link that has something to
// send. All have ended when Ended returns. One goroutine watches the ends of all tokens (hub/expiry).
package amqpdoor
