package hubclient

import (
	"context"
	"net/http"
)

// CommandSettings are how a hub treats cloud-to-device messages and the feedback about them. In a change nil stays as it is.
type CommandSettings struct {
	DefaultTTLSeconds    *int64 `json:"defaultTtlInSeconds,omitempty"`           // of a message without an expiry; 60 to 172800
	MaxDeliveryCount     *int   `json:"maxDeliveryCount,omitempty"`              // 1 to 100
	LockSeconds          *int64 `json:"lockDurationInSeconds,omitempty"`         // of a message lent over HTTPS; 5 to 300
	FeedbackTTLSeconds   *int64 `json:"feedbackTtlInSeconds,omitempty"`          // 60 to 172800
	FeedbackLockSeconds  *int64 `json:"feedbackLockDurationInSeconds,omitempty"` // 5 to 300
	FeedbackDeliveries   *int   `json:"feedbackMaxDeliveryCount,omitempty"`      // 1 to 100
	FeedbackDelaySeconds *int64 `json:"feedbackDelayInSeconds,omitempty"`        // for which feedback waits for more of it; 0 to 60
}

const commandSettings = "/isthmus/v1/commands/settings"

// CommandSettings reads them.
func (c *Client) CommandSettings(ctx context.Context) (CommandSettings, error) {
	var out CommandSettings
	err := c.call(ctx, http.MethodGet, commandSettings, nil, "", nil, &out)
	return out, err
}

// SetCommandSettings changes those that are given, and returns all.
func (c *Client) SetCommandSettings(ctx context.Context, s CommandSettings) (CommandSettings, error) {
	var out CommandSettings
	err := c.call(ctx, http.MethodPatch, commandSettings, nil, "", s, &out)
	return out, err
}
