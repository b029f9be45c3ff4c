package httpdoor

import (
	"context"
	"net/http"

	"github.com/isthmus-io/isthmus/control"
)

type webhookMade struct {
	Secret  string          `json:"secret" doc:"what deliveries are signed with; shown this once"`
	Webhook control.Webhook `json:"webhook"`
}

// noOptions is a body that says nothing: {}.
type noOptions struct{}

type webhookInput struct {
	ID string `path:"id"`
}

func (d *door) registerWebhooks() {
	handle(d, route{id: "list-webhooks", method: http.MethodGet, path: "/v1/access/webhooks", access: person, tag: "access", summary: "List webhooks"},
		func(ctx context.Context, _ *struct{}) (*many[control.Webhook], error) {
			list, err := d.ctl.Webhooks(ctx, principal(ctx))
			if err != nil {
				return nil, err
			}
			return &many[control.Webhook]{Body: items[control.Webhook]{emptyNotNull(list)}}, nil
		})
	handleBody(d, route{id: "create-webhook", method: http.MethodPost, path: "/v1/access/webhooks", access: person, tag: "access",
		status: http.StatusCreated, summary: "Have events sent to an address"},
		func(ctx context.Context, _ *body, b control.WebhookRequest) (*struct{ Body webhookMade }, error) {
			secret, h, err := d.ctl.CreateWebhook(ctx, principal(ctx), b)
			if err != nil {
				return nil, err
			}
			return &struct{ Body webhookMade }{webhookMade{secret, h}}, nil
		})
	handle(d, route{id: "delete-webhook", method: http.MethodDelete, path: "/v1/access/webhooks/{id}", access: person, tag: "access",
		status: http.StatusNoContent, summary: "Stop sending events to an address"},
		func(ctx context.Context, in *webhookInput) (*struct{}, error) {
			return nil, d.ctl.DeleteWebhook(ctx, principal(ctx), in.ID)
		})
	handleBody(d, route{id: "test-webhook", method: http.MethodPost, path: "/v1/access/webhooks/{id}/test", access: person, tag: "access",
		status: http.StatusNoContent, summary: "Send an event to try an address, and wait for the answer"},
		func(ctx context.Context, in *struct {
			body
			ID string `path:"id"`
		}, _ noOptions) (*struct{}, error) {
			return nil, d.ctl.TestWebhook(ctx, principal(ctx), in.ID)
		})
}
