package hubclient

import (
	"context"
	"net/http"
	"net/url"

	"github.com/isthmus-io/isthmus/hub/caller"
)

// End returns where the hub's events end now, for [Query.From]: what comes later is all that is read from there.
func (c *Client) End(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, caller.Patience)
	defer cancel()
	r, err := c.caller.Send(ctx, caller.Request{Method: http.MethodGet, Path: "/isthmus/v1/events", Query: url.Values{"from": {"end"}}})
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	return r.Header.Get("isthmus-positions"), nil
}
