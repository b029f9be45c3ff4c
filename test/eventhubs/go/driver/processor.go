package main

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// processor is a running azeventhubs.Processor, and what it has claimed and got so far.
type processor struct {
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	changed chan struct{}
	claimed []string
	events  []arrived
	wrong   []failure
}

func (d *driver) process(ctx context.Context, c *azeventhubs.ConsumerClient, q question) error {
	blobs, err := container.NewClientWithNoCredential(q.Container, nil)
	if err != nil {
		return err
	}
	store, err := checkpoints.NewBlobStore(blobs, nil)
	if err != nil {
		return err
	}
	strategy := azeventhubs.ProcessorStrategy(q.Strategy)
	if strategy == "" {
		strategy = azeventhubs.ProcessorStrategyGreedy
	}
	sdk, err := azeventhubs.NewProcessor(c, store, &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy: strategy, UpdateInterval: milliseconds(q.Update), PartitionExpirationDuration: milliseconds(q.Expiration),
		StartPositions: azeventhubs.StartPositions{Default: q.Position.sdk()},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	p := &processor{stop: stop, changed: make(chan struct{})}
	p.ended.Go(func() {
		if err := sdk.Run(ctx); err != nil {
			p.change(func() { p.wrong = append(p.wrong, failed(err)) })
		}
	})
	p.ended.Go(func() {
		for r := sdk.NextPartitionClient(ctx); r != nil; r = sdk.NextPartitionClient(ctx) {
			p.ended.Go(func() { p.follow(ctx, r, q) })
		}
	})
	keep(d, d.processors, q.Reader, p)
	return nil
}

// follow reads a partition until somebody else has it.
func (p *processor) follow(ctx context.Context, r *azeventhubs.ProcessorPartitionClient, q question) {
	id := r.PartitionID()
	p.change(func() { p.claimed = append(p.claimed, id) })
	defer func() {
		_ = r.Close(context.WithoutCancel(ctx)) // there is nobody to tell
		p.change(func() { p.claimed = slices.DeleteFunc(p.claimed, func(c string) bool { return c == id }) })
	}()
	for ctx.Err() == nil {
		waited, cancel := context.WithTimeout(ctx, milliseconds(200))
		got, err := r.ReceiveEvents(waited, 100, nil)
		cancel()
		p.change(func() {
			for _, e := range got {
				p.events = append(p.events, seen(e, id, q.Brief))
			}
		})
		if len(got) > 0 && q.Checkpoint {
			if err := r.UpdateCheckpoint(ctx, got[len(got)-1], nil); err != nil && ctx.Err() == nil {
				p.change(func() { p.wrong = append(p.wrong, failed(err)) })
			}
		}
		var own *azeventhubs.Error
		switch {
		case err == nil || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		case errors.As(err, &own) && own.Code == azeventhubs.ErrorCodeOwnershipLost:
			return
		default:
			p.change(func() { p.wrong = append(p.wrong, failed(err)) })
			return
		}
	}
}

func (p *processor) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// until waits for a condition.
func (p *processor) until(ctx context.Context, holds func() bool) {
	for {
		p.mu.Lock()
		ok, changed := holds(), p.changed
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (p *processor) take(ctx context.Context, count int) []arrived {
	p.until(ctx, func() bool { return len(p.events) >= count || len(p.wrong) > 0 })
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(count, len(p.events))
	out := append([]arrived{}, p.events[:n]...)
	p.events = p.events[n:]
	return out
}

func (p *processor) errors() []failure {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := append([]failure{}, p.wrong...)
	p.wrong = nil
	return out
}

// claimed tells which partitions a processor has, once they are as many as the test wants.
func (d *driver) claimed(ctx context.Context, q question) (answer, error) {
	p, err := known(d, d.processors, q.Reader)
	if err != nil {
		return nil, err
	}
	if q.Wait == 0 {
		q.Wait = 20000
	}
	ctx, cancel := context.WithTimeout(ctx, milliseconds(q.Wait))
	defer cancel()
	p.until(ctx, func() bool { return len(p.claimed) == q.Count })
	p.mu.Lock()
	defer p.mu.Unlock()
	own := append([]string{}, p.claimed...)
	slices.Sort(own)
	return answer{"partitions": own}, nil
}

func (p *processor) end(ctx context.Context) error {
	p.stop()
	done := make(chan struct{})
	go func() { p.ended.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
