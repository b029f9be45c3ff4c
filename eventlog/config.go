package eventlog

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/fault"
)

// Limits that are the log's own and not for configuration.
const (
	MaxPartitions = 1024 // of one stream
	MaxStreams    = 65536
	MaxNameBytes  = 256 // of a stream's name, and of a partition key

	maxReadBytes = 4 << 20 // one Read returns no more, except that it always returns one event
)

// Config is how a log is opened. The zero value needs only Dir.
type Config struct {
	Dir        string // made with mode 0700 when missing
	Partitions int    // of streams created from now on without a number of their own; 4
	Partition  Hash   // partition key -> hash; FNV. Must not change for a stream that has keyed events

	MaxEventBytes int // stored size of one event; 1 MiB + 64 KiB
	BatchEvents   int // in one commit; 4096
	BatchBytes    int // in one commit; 4 MiB
	QueueBytes    int // waiting to be committed, appends beyond block; 32 MiB

	// Reserve is the free space on the disk below which appends are refused, in bytes. Zero: 1 % of the disk, at least 64 MiB and
	// at most 1 GiB.
	Reserve uint64
	// DiskCheck is how old the knowledge of the free space may be; 250 ms. It is also refreshed after every 8 MiB written.
	DiskCheck time.Duration

	Retention      Retention     // applied to every stream while Run runs
	RetentionEvery time.Duration // 1 min

	FS vfs.FS // the file system; nil is the machine's. Tests inject errors here
}

// Retention says which events are trimmed by themselves, oldest first. The zero value keeps all.
type Retention struct {
	Age   time.Duration // older than this are trimmed
	Bytes int64         // what one partition may hold, in stored bytes
}

func (r Retention) none() bool { return r.Age <= 0 && r.Bytes <= 0 }

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, fault.New("eventlog.Open", fault.Invalid, "no directory is set for the event log").
			Advise("set the hub's data directory")
	}
	c.Partitions = or(c.Partitions, 4)
	if c.Partitions < 1 || c.Partitions > MaxPartitions {
		return c, fault.Newf("eventlog.Open", fault.Invalid, "a stream has 1 to %d partitions, not %d", MaxPartitions, c.Partitions)
	}
	if c.Partition == nil {
		c.Partition = FNV
	}
	c.MaxEventBytes = or(c.MaxEventBytes, 1<<20+64<<10)
	c.BatchEvents = or(c.BatchEvents, 4096)
	c.BatchBytes = or(c.BatchBytes, 4<<20)
	c.QueueBytes = or(c.QueueBytes, 32<<20)
	c.DiskCheck = or(c.DiskCheck, 250*time.Millisecond)
	c.RetentionEvery = or(c.RetentionEvery, time.Minute)
	if c.FS == nil {
		c.FS = vfs.Default
	}
	return c, nil
}

func or[T int | time.Duration](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}
