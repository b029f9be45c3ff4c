package control

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
)

func (c *Control) CreateWebhook(ctx context.Context, p Principal, r WebhookRequest) (secret string, h Webhook, err error) {
	return "", Webhook{}, fault.New("control.CreateWebhook", fault.Unavailable, "not yet")
}

func (c *Control) Webhooks(ctx context.Context, p Principal) ([]Webhook, error) { return nil, nil }

func (c *Control) DeleteWebhook(ctx context.Context, p Principal, id string) error {
	return fault.New("control.DeleteWebhook", fault.Unavailable, "not yet")
}

func (c *Control) TestWebhook(ctx context.Context, p Principal, id string) error {
	return fault.New("control.TestWebhook", fault.Unavailable, "not yet")
}
