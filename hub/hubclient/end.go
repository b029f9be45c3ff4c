package hubclient

import (
	"context"
	"net/http"
	"net/url"
)

// End returns where the hub's events end now, for [Query.From]: what comes later is all that is read from there.
func (c *Client) End(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	r, err := c.send(ctx, http.MethodGet, "/isthmus/v1/events", url.Values{"from": {"end"}}, "", nil)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	return r.Header.Get("isthmus-positions"), nil
}
