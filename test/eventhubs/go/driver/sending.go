package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// outgoing is an event: a text, or every part of an AMQP message.
type outgoing struct {
	Body    string
	Message *annotated
}

// annotated is an AMQP message; one of Data, Value and Sequence is there. Values are as in values.go.
type annotated struct {
	Data        map[string]any
	Value       map[string]any
	Sequence    []map[string]any
	Properties  map[string]map[string]any
	Application map[string]map[string]any
	Annotations map[string]map[string]any
}

func add(b *azeventhubs.EventDataBatch, e outgoing) error {
	if e.Message == nil {
		return b.AddEventData(&azeventhubs.EventData{Body: []byte(e.Body)}, nil)
	}
	m, err := e.Message.sdk()
	if err != nil {
		return err
	}
	return b.AddAMQPAnnotatedMessage(m, nil)
}

// send sends the events as one batch, as many as fit.
func (d *driver) send(ctx context.Context, q question) (answer, error) {
	p, err := known(d, d.producers, q.Client)
	if err != nil {
		return nil, err
	}
	b, err := p.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: q.Partition, PartitionKey: q.Key})
	if err != nil {
		return nil, err
	}
	kept := 0
	for _, e := range q.Events {
		if err := add(b, e); err == nil {
			kept++
		} else if !errors.Is(err, azeventhubs.ErrEventDataTooLarge) {
			return nil, err
		}
	}
	return answer{"kept": kept}, p.SendEventDataBatch(ctx, b, nil)
}

// one sends one event as a batch of its own.
func one(ctx context.Context, p *azeventhubs.ProducerClient, q question, body string) error {
	b, err := p.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: q.Partition, PartitionKey: q.Key})
	if err != nil {
		return err
	}
	if err := b.AddEventData(&azeventhubs.EventData{Body: []byte(body)}, nil); err != nil {
		return err
	}
	return p.SendEventDataBatch(ctx, b, nil)
}

// pour sends Count events of Size bytes, each on its own and some at once, and tells how many were acknowledged.
func (d *driver) pour(ctx context.Context, q question) (answer, error) {
	p, err := known(d, d.producers, q.Client)
	if err != nil {
		return nil, err
	}
	if q.AtOnce == 0 {
		q.AtOnce = 10
	}
	var next, acknowledged atomic.Int64
	errs := make(chan error, q.AtOnce)
	begun := time.Now()
	for range q.AtOnce {
		go func() {
			for n := next.Add(1) - 1; n < int64(q.Count); n = next.Add(1) - 1 {
				if err := one(ctx, p, q, fmt.Sprintf("%-*s", q.Size, fmt.Sprint(q.Prefix, n))); err != nil {
					errs <- err
					return
				}
				acknowledged.Add(1)
			}
			errs <- nil
		}()
	}
	var all []error
	for range q.AtOnce {
		all = append(all, <-errs)
	}
	return answer{"acknowledged": acknowledged.Load(), "took": time.Since(begun).Milliseconds()}, errors.Join(all...)
}

// load is one event after the other, until it is told to stop. What fails is sent again.
type load struct {
	stop         context.CancelFunc
	ended        sync.WaitGroup
	acknowledged atomic.Int64 // events, numbered from 0
	failures     atomic.Int64
}

func (d *driver) load(ctx context.Context, q question) (answer, error) {
	p, err := known(d, d.producers, q.Client)
	if err != nil {
		return nil, err
	}
	l := &load{}
	stopped, stop := context.WithCancel(ctx)
	l.stop = stop
	l.ended.Go(func() {
		for stopped.Err() == nil {
			if err := one(ctx, p, q, fmt.Sprint(q.Prefix, l.acknowledged.Load())); err == nil {
				l.acknowledged.Add(1)
				continue
			}
			l.failures.Add(1)
			select {
			case <-stopped.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	keep(d, d.loads, q.Client, l)
	return nil, nil
}

func (d *driver) loaded(_ context.Context, q question) (answer, error) {
	l, err := known(d, d.loads, q.Client)
	if err != nil {
		return nil, err
	}
	return answer{"count": l.acknowledged.Load()}, nil
}

func (d *driver) rest(_ context.Context, q question) (answer, error) {
	l, err := known(d, d.loads, q.Client)
	if err != nil {
		return nil, err
	}
	l.stop()
	l.ended.Wait()
	return answer{"count": l.acknowledged.Load(), "failures": l.failures.Load()}, nil
}
