package provisioningclient

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
)

// Registration is what became of a device.
type Registration struct {
	ID           string          `json:"registrationId"`
	Created      string          `json:"createdDateTimeUtc,omitempty"`
	Hub          string          `json:"assignedHub,omitempty"`
	DeviceID     string          `json:"deviceId,omitempty"`
	Status       string          `json:"status"` // unassigned, assigning, assigned or failed
	Substatus    string          `json:"substatus,omitempty"`
	Updated      string          `json:"lastUpdatedDateTimeUtc,omitempty"`
	ErrorCode    int             `json:"errorCode,omitempty"`
	ErrorMessage string          `json:"errorMessage,omitempty"`
	ETag         string          `json:"etag,omitempty"`
	Payload      json.RawMessage `json:"payload,omitempty"`
	X509         *Proof          `json:"x509,omitempty"`
	SymmetricKey *Proof          `json:"symmetricKey,omitempty"`
}

// Proof tells by which group's authority or key a device proved itself, if it was a group's.
type Proof struct {
	GroupID string `json:"enrollmentGroupId,omitempty"`
}

// Registration reads one. NotFound when the device never registered.
func (c *Client) Registration(ctx context.Context, id string) (Registration, error) {
	var out Registration
	err := c.call(ctx, http.MethodGet, "/registrations/"+url.PathEscape(id), "", nil, &out)
	return out, err
}

// Registrations ranges over those of a group; an error ends it.
func (c *Client) Registrations(ctx context.Context, group string) iter.Seq2[Registration, error] {
	return pages[Registration](ctx, c, "/registrations/"+url.PathEscape(group)+"/query")
}

// DeleteRegistration forgets one: the device is as one that never registered, and stays at its hub. ifMatch is an etag or Any.
func (c *Client) DeleteRegistration(ctx context.Context, id, ifMatch string) error {
	return c.call(ctx, http.MethodDelete, "/registrations/"+url.PathEscape(id), ifMatch, nil, nil)
}
