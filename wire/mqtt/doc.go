// Package mqtt turns bytes into MQTT 3.1.1 control packets and back (OASIS MQTT Version 3.1.1). It is a codec: it holds no session,
// starts no goroutine, and knows nothing of topics' meaning.
//
// [Reader] cuts a byte stream into packets with a limit that may change while reading (small before a peer is known, larger
// after). [Decode] reads one packet; [DecodePublish] does the same for the packet that counts, without allocating. Every packet's
// Append writes it, so one table of packets serves encoders, decoders and their tests on both sides of a connection.
//
// Invariants:
//   - what Decode accepts, Append writes back to a packet that decodes to the same value;
//   - a reader that rests holds no buffer; what it lent goes to whoever reads next;
//   - decoded byte slices point into the input and are valid as long as it is; strings are copies;
//   - a packet is refused as [ErrMalformed] for every MUST of the standard that one packet can break, except that a topic name may
//     hold '+' and '#' (MQTT-3.3.2-2): device ids may hold both and SDKs write them into topics as they are.
package mqtt
