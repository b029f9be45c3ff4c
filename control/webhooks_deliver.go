package control

import "context"

func (c *Control) deliverWebhooks(ctx context.Context) { <-ctx.Done() }
