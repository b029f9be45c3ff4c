package hubclient

import (
	"context"
	"net/http"
	"time"
)

// Connection is a device or a module that is connected.
type Connection struct {
	Device string    `json:"device"` // or device/module
	Door   string    `json:"door"`
	Peer   string    `json:"peer"`           // its address as its endpoint saw it
	Link   uint32    `json:"link,omitempty"` // of the endpoint it came through; 0 for the public side
	Since  time.Time `json:"since"`
	Active time.Time `json:"active"`
}

// Connections lists who is connected, by name.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	var out []Connection
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/connections", nil, "", nil, &out)
	return out, err
}
