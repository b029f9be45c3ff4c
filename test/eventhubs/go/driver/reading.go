package main

import (
	"context"
	"errors"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// position is where reading begins; the SDK's own choice without one.
type position struct {
	Earliest, Latest, Inclusive bool
	Offset                      *string
	Sequence                    *int64
	Time                        *int64 // milliseconds since 1970
}

func (p *position) sdk() azeventhubs.StartPosition {
	if p == nil {
		return azeventhubs.StartPosition{}
	}
	s := azeventhubs.StartPosition{Offset: p.Offset, SequenceNumber: p.Sequence, Inclusive: p.Inclusive}
	if p.Earliest {
		s.Earliest = &p.Earliest
	}
	if p.Latest {
		s.Latest = &p.Latest
	}
	if p.Time != nil {
		at := time.UnixMilli(*p.Time)
		s.EnqueuedTime = &at
	}
	return s
}

// read makes a reader of a partition, or, with a container for checkpoints, a processor.
func (d *driver) read(ctx context.Context, q question) (answer, error) {
	c, err := known(d, d.consumers, q.Client)
	if err != nil {
		return nil, err
	}
	if q.Container != "" {
		return nil, d.process(ctx, c, q)
	}
	r, err := c.NewPartitionClient(*q.Partition, &azeventhubs.PartitionClientOptions{StartPosition: q.Position.sdk(), OwnerLevel: q.Epoch, Prefetch: q.Prefetch})
	if err != nil {
		return nil, err
	}
	keep(d, d.readers, q.Reader, r)
	return nil, nil
}

// receive returns the events that a reader has got, once there are Count of them, or an error, or Wait is over.
func (d *driver) receive(ctx context.Context, q question) (answer, error) {
	if q.Wait == 0 {
		q.Wait = 20000
	}
	ctx, cancel := context.WithTimeout(ctx, milliseconds(q.Wait))
	defer cancel()
	if p, err := known(d, d.processors, q.Reader); err == nil {
		return answer{"events": p.take(ctx, q.Count), "errors": p.errors()}, nil
	}
	r, err := known(d, d.readers, q.Reader)
	if err != nil {
		return nil, err
	}
	events, errs := []arrived{}, []failure{}
	for len(events) < q.Count && ctx.Err() == nil && len(errs) == 0 {
		got, err := r.ReceiveEvents(ctx, q.Count-len(events), nil)
		for _, e := range got {
			events = append(events, seen(e, *q.Partition, q.Brief))
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			errs = append(errs, failed(err))
		}
	}
	return answer{"events": events, "errors": errs}, nil
}

func (d *driver) stop(ctx context.Context, q question) (answer, error) {
	if p, err := known(d, d.processors, q.Reader); err == nil {
		return nil, p.end(ctx)
	}
	r, err := known(d, d.readers, q.Reader)
	if err != nil {
		return nil, err
	}
	return nil, r.Close(ctx)
}

// arrived is an event as the test sees it.
type arrived struct {
	Partition   string                    `json:"partition"`
	Sequence    int64                     `json:"sequence"`
	Offset      string                    `json:"offset"`
	OffsetType  string                    `json:"offsetType"`
	Time        int64                     `json:"time"`
	Key         *string                   `json:"key"`
	Body        string                    `json:"body"`
	Length      int                       `json:"length"`
	Kind        string                    `json:"kind"`
	Value       map[string]any            `json:"value,omitempty"`
	Properties  map[string]map[string]any `json:"properties,omitempty"`
	Application map[string]map[string]any `json:"application,omitempty"`
	System      map[string]map[string]any `json:"system,omitempty"`
	Annotations map[string]map[string]any `json:"annotations,omitempty"`
}

// seen tells of an event; in brief, its place and how its body begins.
func seen(e *azeventhubs.ReceivedEventData, partition string, brief bool) arrived {
	if brief {
		return arrived{Partition: partition, Sequence: e.SequenceNumber, Body: string(e.Body[:min(64, len(e.Body))]), Length: len(e.Body)}
	}
	a := arrived{
		Partition: partition, Sequence: e.SequenceNumber, Offset: e.Offset, OffsetType: "string", Key: e.PartitionKey, Body: string(e.Body), Length: len(e.Body),
		Properties: propertiesOf(e.RawAMQPMessage.Properties), Application: typedEach(e.Properties), System: typedEach(e.SystemProperties), Annotations: map[string]map[string]any{},
	}
	if e.EnqueuedTime != nil {
		a.Time = e.EnqueuedTime.UnixMilli()
	}
	for k, v := range e.RawAMQPMessage.MessageAnnotations {
		if name, ok := k.(string); ok {
			a.Annotations[name] = typed(v)
		}
	}
	switch body := e.RawAMQPMessage.Body; {
	case body.Data != nil:
		a.Kind = "data"
		if len(body.Data) == 1 {
			a.Value = typed(body.Data[0])
		}
	case body.Sequence != nil:
		a.Kind = "sequence"
		if len(body.Sequence) == 1 {
			a.Value = typed(body.Sequence[0])
		}
	default:
		a.Kind, a.Value = "value", typed(body.Value)
	}
	return a
}
