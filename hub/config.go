package hub

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/workload"
)

// Config is how a server of hubs is made. Dir or Database must be given; every other field's zero value works.
type Config struct {
	Dir      string        // data directory: devices are kept in Dir/hub.db
	Database string        // where devices are kept instead, e.g. postgres://...
	MaxPages int           // bounds hub.db, in pages of 4 KiB; 0 leaves it to the disk
	SeenEach time.Duration // how often connection and activity times are written down; 30 s

	// Workloads checks tokens of workloads; nil refuses all of them.
	Workloads *workload.Verifier

	Limits limit.Limits // of hubs for which nothing else was set; limit.Defaults
	Tenant limit.Rates  // of all hubs of a tenant in this process; limit.DefaultTenant
}

func (c Config) withDefaults() Config {
	if c.Database == "" && c.Dir != "" {
		c.Database = c.Dir + "/hub.db"
	}
	if c.SeenEach <= 0 {
		c.SeenEach = 30 * time.Second
	}
	if c.Limits == (limit.Limits{}) {
		c.Limits = limit.Defaults()
	}
	if c.Tenant == (limit.Rates{}) {
		c.Tenant = limit.DefaultTenant()
	}
	return c
}

// EventLog is what a hub needs of a durable log; *eventlog.Log is one.
type EventLog interface {
	// AppendAsync takes an event, which may be used again when it returns, and calls done once it is durable or refused, in the
	// order of one caller's appends. It may wait while the log has too much to do; done must not.
	AppendAsync(stream, key string, e eventlog.Event, done func(eventlog.Position, error))
	// Create makes a stream unless it exists; partitions 0 is the log's own choice.
	Create(ctx context.Context, stream string, partitions int) error
	// Read returns up to limit events beginning with sequence number from, none when there are none yet.
	Read(ctx context.Context, stream string, partition int, from int64, limit int) ([]eventlog.Event, error)
	// Wait returns when the event from exists, or with an error when ctx ends.
	Wait(ctx context.Context, stream string, partition int, from int64) error
	// Scan calls f with events without copying them; see eventlog.Log.Scan.
	Scan(ctx context.Context, stream string, partition int, from int64, limit int, f func(*eventlog.View) bool) error
	// Info, SeekTime and SeekOffset are those of eventlog.Log.
	Info(stream string, partition int) (eventlog.Info, error)
	SeekTime(stream string, partition int, t time.Time) (int64, error)
	SeekOffset(stream string, partition int, offset int64) (int64, error)
	// Bounds returns the oldest sequence number kept and the next one to be given.
	Bounds(stream string, partition int) (first, next int64)
	// Partitions returns how many partitions the stream has, 0 when there is no such stream.
	Partitions(stream string) int
}

var _ EventLog = (*eventlog.Log)(nil)
