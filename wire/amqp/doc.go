// Package amqp turns bytes into AMQP 1.0 and back: values, frames, SASL and messages (OASIS Advanced Message Queuing Protocol
// Version 1.0: part 1 types, part 2 transport, part 3 messaging, part 4 transactions, part 5 security). It is a codec for servers and
// clients alike: it holds no connection's state, starts no goroutine, and knows nothing of what an address means. Of part 4 it reads
// what has to be recognised in order to be refused.
//
// [ParseValue] and [AppendValue] read and write any value as Go types (see the table at [AppendValue]). [Reader] cuts a byte stream into
// frames under a limit, [Decode] reads a frame's performative and [AppendFrame] writes one; Transfer, Flow and Disposition have a Decode
// and an Append of their own that do not allocate. [Scan] finds the sections of a message without decoding them, so that a message can be
// split and put together again byte for byte; [Unmarshal] and [Message.Append] are for those who want to look inside.
//
// Defaults are the reader's business: a field that was absent stays unset in its [Optional], and whoever reads it applies the default of
// the standard (max-frame-size 4294967295, channel-max 65535, handle-max 4294967295, no idle-time-out, settle modes mixed and first,
// message-format 0, priority 4). A boolean that was absent is false, as every default of a boolean in the standard is.
//
// Invariants:
//   - nothing a peer sends makes the codec panic, recurse deeper than [Limits] says, or allocate out of proportion to the bytes that
//     have arrived: every length and count is checked against what is there before anything is made;
//   - what ParseValue, Decode or Unmarshal accepts, the matching Append writes to bytes that read as the same value;
//   - descriptors are written as smallulong and read as smallulong, ulong or symbol; lists are read as list0, list8 and list32, every
//     other type in all its encodings; missing trailing fields are null; a field beyond the last must be null;
//   - what is decoded is a copy, except where a field's comment says that it points into the input.
package amqp
