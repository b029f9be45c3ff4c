package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// fill puts events into an event hub, or without one into files with a line for each.
func fill(ctx context.Context, dir string, at door, hub string, events int64) error {
	if at.Addr == "" {
		return fillFiles(dir, events)
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range int64(eventSenders) {
		g.Go(func() error {
			s, err := at.session(ctx)
			if err != nil {
				return err
			}
			sender, err := s.Sender(ctx, hub, nil)
			if err != nil {
				return err
			}
			return fillFrom(ctx, sender, i, events)
		})
	}
	return g.Wait()
}

// fillFrom sends every fourth batch of 100, each with a partition key: a device that was away sends so.
func fillFrom(ctx context.Context, to *amqptest.Sender, turn, events int64) error {
	window := make(chan struct{}, 16)
	var refused atomic.Int64
	for first := turn * 100; first < events; first += eventSenders * 100 {
		m := &amqp.Message{Header: &amqp.Header{Durable: true}, MessageAnnotations: amqp.Map{{Key: amqp.Symbol("x-opt-partition-key"), Value: pressOf(first)}}}
		for i := first; i < min(first+100, events); i++ {
			one, err := (&amqp.Message{ApplicationProperties: amqp.Map{{Key: "line", Value: "3"}}, Data: [][]byte{bridgeEvent(nil, i)}}).Append(nil)
			if err != nil {
				return err
			}
			m.Data = append(m.Data, one)
		}
		message, err := m.Append(nil)
		if err != nil {
			return err
		}
		window <- struct{}{}
		if err := to.Start(ctx, message, batchFormat, func(s amqp.State) {
			if _, ok := s.(amqp.Accepted); !ok {
				refused.Add(1)
			}
			<-window
		}); err != nil {
			return err
		}
	}
	for range cap(window) {
		window <- struct{}{}
	}
	if n := refused.Load(); n > 0 {
		return fmt.Errorf("%d batches were not accepted (%w)", n, to.Err())
	}
	return nil
}

func lineFile(dir string, partition int) string {
	return filepath.Join(dir, "lines-"+strconv.Itoa(partition))
}

func fillFiles(dir string, events int64) error {
	for p := range eventPartitions {
		f, err := os.Create(lineFile(dir, p))
		if err != nil {
			return err
		}
		w := bufio.NewWriter(f)
		for i := int64(p) * events / eventPartitions; i < int64(p+1)*events/eventPartitions; i++ {
			_, _ = w.Write(append(bridgeEvent(nil, i), '\n')) // Flush tells
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
