package amqpevent

// Encoded is the format of an event whose body is an AMQP message as its sender encoded it, less what is the service's to set.
const Encoded uint8 = 1

// Message formats of transfers (2.7.5) that hold events.
const (
	SingleFormat uint32 = 0          // one event: the message
	BatchFormat  uint32 = 0x80013700 // events: a message with one data section for each, which is the event encoded
)

// Annotations of the service (Event Hubs: AMQP protocol guide). What a sender writes under these names is not kept.
const (
	sequenceNumber = "x-opt-sequence-number" // long
	offset         = "x-opt-offset"          // string
	enqueuedTime   = "x-opt-enqueued-time"   // timestamp
	partitionKey   = "x-opt-partition-key"   // string, at most MaxKeyBytes
	publisher      = "x-opt-publisher-name"  // string

	producerID       = "com.microsoft:producer-id"              // long
	producerEpoch    = "com.microsoft:producer-epoch"           // short
	producerSequence = "com.microsoft:producer-sequence-number" // int
)

// MaxKeyBytes is the longest partition key (Event Hubs: quotas).
const MaxKeyBytes = 128

// ours tells whether an annotation is the service's to set.
func ours(name []byte) bool {
	switch string(name) {
	case sequenceNumber, offset, enqueuedTime, partitionKey, publisher, producerID, producerEpoch, producerSequence:
		return true
	}
	return false
}
