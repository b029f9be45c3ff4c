package eventlog

import "time"

// Event is one entry of a partition. To Append only Body, Properties, System and Format are of interest, and in a Batch with OwnKeys
// PartitionKey: the log sets the rest.
type Event struct {
	Body       []byte
	Properties map[string]string // the application's own
	System     map[string]string // e.g. message-id, content-type, iothub-connection-device-id
	Format     uint8             // how Body is to be read, a matter between those who write and read; 0: the body alone

	PartitionKey string    // what it was appended with; empty when none
	Enqueued     time.Time // when it was committed, whole milliseconds, never before the event in front of it
	Partition    int
	Sequence     int64 // 0, 1, 2, … in its partition
	Offset       int64 // bytes stored before it in its partition since the partition began: grows with every event, with gaps
}

// Position is where an appended event stands.
type Position struct {
	Partition int
	Sequence  int64
	Offset    int64
	Enqueued  time.Time
}

// Info is what is known about a partition.
type Info struct {
	First        int64     // sequence number of the oldest event kept; equals Next when the partition is empty
	Next         int64     // sequence number the next event will get
	LastOffset   int64     // offset of event Next-1; -1 when there never was one
	LastEnqueued time.Time // enqueued time of event Next-1; zero when there never was one
}
