package control

import "time"

// WebhookRequest asks for a webhook.
type WebhookRequest struct {
	Tenant string   `json:"tenant,omitempty" doc:"the caller's own when absent"`
	URL    string   `json:"url" doc:"https://…; http:// only to a loopback address" example:"https://chat.example.net/hooks/isthmus"`
	Events []string `json:"events,omitempty" doc:"request, approve, deny, revoke, expire, break-glass, session-open, session-end; all when absent"`
}

// Webhook is what is known of a webhook; never its secret.
type Webhook struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant"`
	URL       string    `json:"url"`
	Events    []string  `json:"events"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	State     string    `json:"state,omitempty" doc:"what became of the last delivery, in words"`
	Waiting   int       `json:"waiting" doc:"deliveries that are tried again"`
}
