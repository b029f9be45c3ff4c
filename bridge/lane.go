package bridge

import (
	"context"
)

// input is what a lane reads: a partition of the source, or the rows of a window.
type input interface {
	// next waits for a batch. After an error there is nothing more to come.
	next(ctx context.Context) (*batch, error)
	close()
}

// output takes batches, one at a time.
type output interface {
	// put returns nil when the batch is done with, or will be by itself; an error when ctx has ended.
	put(ctx context.Context, b *batch) error
}

// lane is one stream: what it reads, what is done with it, and where it goes.
type lane struct {
	run   *run
	name  string // the partition, or what stands for it
	in    input
	chain *Chain
	out   output
}

// process takes a batch through one link, however often that takes.
func (l *lane) process(ctx context.Context, step link, b *batch) error {
	p := l.run.troubles.patience("step/" + l.name)
	for {
		err := ctx.Err()
		if err == nil {
			err = safely("the step", func() error { return step.process(ctx, b) })
		}
		if err == nil {
			p.over()
			return nil
		}
		if !p.again(ctx, step.name(), err) {
			return ctx.Err()
		}
	}
}
