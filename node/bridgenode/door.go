package bridgenode

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/bridge/localdoor"
	"github.com/isthmus-io/isthmus/fault"
)

// Run carries the bridges, and answers people on this machine. Without a socket, whose path may be too long, everything else goes on.
func (c *carrier) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error {
		if err := localdoor.Serve(ctx, localdoor.Socket(c.cfg.Dir), c.Bridges, c.log); err != nil && ctx.Err() == nil {
			c.log.Warn("dead letters cannot be looked at on this machine", "error", err, "next", fault.Next(err))
		}
		return nil
	})
	g.Go(func() error { return c.Bridges.Run(ctx) })
	return g.Wait()
}
