package eventhubclient

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/hub/caller"
)

// Group is a consumer group.
type Group struct {
	Name     string    `json:"name"`
	Declared bool      `json:"declared"` // by the namespace's resource
	Created  time.Time `json:"created"`
}

// Groups lists the consumer groups of an event hub, $Default first.
func (c *Client) Groups(ctx context.Context, eventHub string) ([]Group, error) {
	var out []Group
	err := c.call(ctx, http.MethodGet, path(eventHub, "consumergroups"), nil, &out)
	return out, err
}

// CreateGroup makes a consumer group. Conflict when it is there.
func (c *Client) CreateGroup(ctx context.Context, eventHub, name string) (Group, error) {
	var out Group
	err := c.call(ctx, http.MethodPut, path(eventHub, "consumergroups", name), nil, &out)
	return out, err
}

// DeleteGroup removes a consumer group with its checkpoints and ownerships.
func (c *Client) DeleteGroup(ctx context.Context, eventHub, name string) error {
	return c.call(ctx, http.MethodDelete, path(eventHub, "consumergroups", name), nil, nil)
}

// Checkpoint is how far a consumer group has come in one partition.
type Checkpoint struct {
	Partition int       `json:"partition"`
	Sequence  int64     `json:"sequenceNumber"` // of the last event somebody has done with; -1: none yet
	Offset    string    `json:"offset"`         // of that event
	Waiting   int64     `json:"waiting"`        // events after it
	Owner     string    `json:"owner,omitempty"`
	ETag      string    `json:"etag"`
	Updated   time.Time `json:"updated"`
}

// Checkpoints lists those of a consumer group by partition.
func (c *Client) Checkpoints(ctx context.Context, eventHub, group string) ([]Checkpoint, error) {
	var out []Checkpoint
	err := c.call(ctx, http.MethodGet, path(eventHub, "consumergroups", group, "checkpoints"), nil, &out)
	return out, err
}

// SetCheckpoint writes Partition, Sequence, Offset (found by the sequence number when empty) and Owner of one, over the one with the etag
// ifMatch if that is not empty: Precondition when it is not there.
func (c *Client) SetCheckpoint(ctx context.Context, eventHub, group string, in Checkpoint, ifMatch string) (Checkpoint, error) {
	var out Checkpoint
	body := map[string]any{"sequenceNumber": in.Sequence, "offset": in.Offset, "owner": in.Owner}
	_, err := c.caller.Call(ctx, caller.Request{
		Method: http.MethodPut, Path: path(eventHub, "consumergroups", group, "checkpoints", strconv.Itoa(in.Partition)), IfMatch: ifMatch, Body: body,
	}, &out)
	return out, err
}

// Ownership says which processor reads a partition for a consumer group.
type Ownership struct {
	Partition int       `json:"partition"`
	Owner     string    `json:"owner"` // empty when it was given back
	ETag      string    `json:"etag"`
	Modified  time.Time `json:"modified"`
}

// Ownerships lists those of a consumer group by partition.
func (c *Client) Ownerships(ctx context.Context, eventHub, group string) ([]Ownership, error) {
	var out []Ownership
	err := c.call(ctx, http.MethodGet, path(eventHub, "consumergroups", group, "ownerships"), nil, &out)
	return out, err
}

// ClaimOwnership makes owner the one who reads a partition, over the record with the etag ifMatch, or, when that is empty, where there is
// none yet. Precondition when somebody was quicker.
func (c *Client) ClaimOwnership(ctx context.Context, eventHub, group string, partition int, owner, ifMatch string) (Ownership, error) {
	var out Ownership
	_, err := c.caller.Call(ctx, caller.Request{
		Method: http.MethodPut, Path: path(eventHub, "consumergroups", group, "ownerships", strconv.Itoa(partition)), IfMatch: ifMatch, Body: map[string]string{"owner": owner},
	}, &out)
	return out, err
}
