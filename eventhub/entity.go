package eventhub

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

// entity is an event hub during one life of it.
type entity struct {
	namespace  *Namespace
	events     *eventlog.Log
	stream     string
	key, name  string
	created    time.Time
	partitions int
	life       *life
}

func (e *entity) Name() string          { return e.name }
func (e *entity) Created() time.Time    { return e.created }
func (e *entity) Partitions() int       { return e.partitions }
func (e *entity) MaxMessage() int       { return MaxMessage }
func (e *entity) Gone() <-chan struct{} { return e.life.gone }
func (e *entity) Devices() bool         { return false }
func (e *entity) Info(partition int) (eventlog.Info, error) {
	return e.events.Info(e.stream, partition)
}
func (e *entity) SeekTime(p int, t time.Time) (int64, error) {
	return e.events.SeekTime(e.stream, p, t)
}
func (e *entity) SeekOffset(p int, offset int64) (int64, error) {
	return e.events.SeekOffset(e.stream, p, offset)
}

// still refuses what comes after the end. Reading needs no such check: who reads is told by Gone.
func (e *entity) still(op string) error {
	select {
	case <-e.life.gone:
	default:
		return nil
	}
	if _, err := e.namespace.Entity(context.Background(), e.name); err != nil {
		return err
	}
	return fault.Newf(op, fault.Unavailable, "the event hub %s was disabled or deleted meanwhile", e.name).Advise("connect again")
}

// Append implements Entity. What comes after the end is refused, also by the log, which makes no stream for it.
func (e *entity) Append(b eventlog.Batch, done func(eventlog.Position, error)) {
	e.life.appending.RLock()
	err := e.still("eventhub.Append")
	if err == nil {
		b.Stream, b.Existing = e.stream, true
		e.events.AppendBatch(b, done)
	}
	e.life.appending.RUnlock()
	if err != nil {
		done(eventlog.Position{}, err)
	}
}

func (e *entity) RegisterProducer(ctx context.Context, partition int, known eventlog.Producer) (eventlog.Producer, error) {
	if err := e.still("eventhub.RegisterProducer"); err != nil {
		return eventlog.Producer{}, err
	}
	return e.events.RegisterProducer(ctx, e.stream, partition, known)
}

func (e *entity) Scan(ctx context.Context, partition int, from int64, limit int, f func(*eventlog.View) bool) error {
	return e.events.Scan(ctx, e.stream, partition, from, limit, f)
}

func (e *entity) Wait(ctx context.Context, partition int, from int64) error {
	return e.events.Wait(ctx, e.stream, partition, from)
}

func (e *entity) Group(_ context.Context, name string) (string, error) {
	op := "eventhub.Group"
	h, err := e.namespace.find(op, e.key)
	if err != nil {
		return "", err
	}
	return h.group(op, name)
}

// group returns the spelling of a consumer group.
func (h *eventHub) group(op, name string) (string, error) {
	if strings.EqualFold(name, DefaultGroup) {
		return DefaultGroup, nil
	}
	if g, ok := h.groups[strings.ToLower(name)]; ok {
		return g.Name, nil
	}
	return "", fault.Newf(op, fault.NotFound, "the event hub %s has no consumer group %q", h.Name, shorten(name)).Advise("make it first; %s is always there", DefaultGroup)
}
