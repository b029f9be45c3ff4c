package main

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// connection is what azeventhubs is told.
func (d door) connection() string {
	return fmt.Sprintf("Endpoint=sb://%s/;SharedAccessKeyName=%s;SharedAccessKey=%s", d.Host, d.User, d.Key)
}

// hubSenders is one producer, whose sends wait for their acknowledgement: a window of them runs beside each other.
func hubSenders(ctx context.Context, o order) ([]sender, error) {
	trusted, err := o.Door.trust()
	if err != nil {
		return nil, err
	}
	producer, err := azeventhubs.NewProducerClientFromConnectionString(o.Door.connection(), o.Topic, &azeventhubs.ProducerClientOptions{
		CustomEndpoint: o.Door.Addr, TLSConfig: trusted,
	})
	if err != nil {
		return nil, err
	}
	body := make([]byte, o.Body)
	once := func(ctx context.Context) error {
		b, err := producer.NewEventDataBatch(ctx, nil)
		if err != nil {
			return err
		}
		for range max(o.Batch, 1) {
			if err := b.AddEventData(&azeventhubs.EventData{Body: body, Properties: map[string]any{"line": "3"}}, nil); err != nil {
				return err
			}
		}
		return producer.SendEventDataBatch(ctx, b, nil)
	}
	if err := once(ctx); err != nil { // it connects now
		return nil, err
	}
	places := make(chan struct{}, o.Window)
	return []sender{func(ctx context.Context) (func(context.Context) error, error) {
		places <- struct{}{}
		end := make(chan error, 1)
		go func() {
			err := once(ctx)
			<-places
			end <- err
		}()
		return func(context.Context) error { return <-end }, nil
	}}, nil
}

func hubReaders(ctx context.Context, o order) ([]reader, error) {
	trusted, err := o.Reader.trust()
	if err != nil {
		return nil, err
	}
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(o.Reader.connection(), o.Topic, azeventhubs.DefaultConsumerGroup, &azeventhubs.ConsumerClientOptions{
		CustomEndpoint: o.Reader.Addr, TLSConfig: trusted,
	})
	if err != nil {
		return nil, err
	}
	properties, err := consumer.GetEventHubProperties(ctx, nil)
	if err != nil {
		return nil, err
	}
	earliest := true
	var out []reader
	for _, id := range properties.PartitionIDs {
		p, err := consumer.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: &earliest}, Prefetch: 5000})
		if err != nil {
			return nil, err
		}
		out = append(out, func(ctx context.Context, got func()) error {
			for {
				events, err := p.ReceiveEvents(ctx, 500, nil)
				for range events {
					got()
				}
				if err != nil {
					return err
				}
			}
		})
	}
	return out, nil
}
