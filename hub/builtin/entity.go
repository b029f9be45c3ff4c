package builtin

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// entity is one endpoint during one life of it.
type entity struct {
	stream     hub.Stream
	name       string
	created    time.Time
	partitions int
	gone       <-chan struct{}
}

func (e *entity) Name() string          { return e.name }
func (e *entity) Created() time.Time    { return e.created }
func (e *entity) Partitions() int       { return e.partitions }
func (e *entity) MaxMessage() int       { return eventhub.MaxMessage }
func (e *entity) Gone() <-chan struct{} { return e.gone }
func (e *entity) Devices() bool         { return true }

func (e *entity) Info(partition int) (eventlog.Info, error) { return e.stream.Info(partition) }

func (e *entity) Scan(ctx context.Context, partition int, from int64, limit int, f func(*eventlog.View) bool) error {
	return e.stream.Scan(ctx, partition, from, limit, f)
}

func (e *entity) Wait(ctx context.Context, partition int, from int64) error {
	return e.stream.Wait(ctx, partition, from)
}

func (e *entity) SeekTime(partition int, t time.Time) (int64, error) {
	return e.stream.SeekTime(partition, t)
}

func (e *entity) SeekOffset(partition int, offset int64) (int64, error) {
	return e.stream.SeekOffset(partition, offset)
}

// Append implements eventhub.Entity. It refuses: nobody has the right, and nobody gets it by asking here.
func (e *entity) Append(_ eventlog.Batch, done func(eventlog.Position, error)) {
	done(eventlog.Position{}, readOnly("builtin.Append"))
}

// RegisterProducer implements eventhub.Entity. It refuses as Append does.
func (e *entity) RegisterProducer(context.Context, int, eventlog.Producer) (eventlog.Producer, error) {
	return eventlog.Producer{}, readOnly("builtin.RegisterProducer")
}

func readOnly(op string) error {
	return fault.New(op, fault.Denied, "Unauthorized access. 'Send' claim(s) are required to perform this operation.").
		Advise("events of a hub come from its devices: send as one, or to an event hub of a namespace")
}

// Group implements eventhub.Entity.
func (e *entity) Group(ctx context.Context, name string) (string, error) {
	names, err := e.stream.Groups(ctx)
	if err != nil {
		return "", err
	}
	found := ""
	for _, n := range names {
		if n == name {
			return n, nil
		}
		if strings.EqualFold(n, name) && found == "" {
			found = n
		}
	}
	if found == "" {
		return "", fault.Newf("builtin.Group", fault.NotFound, "endpoint %s has no consumer group %.60q", e.stream.Endpoint, name).
			Advise("make it first: isthmus hub consumer-group create; %s is always there", hub.DefaultGroup)
	}
	return found, nil
}
