package hubclient

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/isthmus-io/isthmus/hub/caller"
)

// Page is a part of what a query finds.
type Page struct {
	Kind         string // Twin, Raw or DeviceJob
	Items        []json.RawMessage
	Continuation string // of the next page; empty when there is none
}

// Find reads a page of what a query finds, size items at most, 0 being the hub's own choice. continuation is empty for the first one.
func (c *Client) Find(ctx context.Context, query string, size int, continuation string) (Page, error) {
	return c.page(ctx, http.MethodPost, "/devices/query", nil, size, continuation, map[string]string{"query": query})
}

// page makes a request whose answer comes in pages.
func (c *Client) page(ctx context.Context, method, path string, query url.Values, size int, continuation string, in any) (Page, error) {
	h := http.Header{}
	if size > 0 {
		h.Set("x-ms-max-item-count", strconv.Itoa(size))
	}
	if continuation != "" {
		h.Set("x-ms-continuation", continuation)
	}
	var items []json.RawMessage
	answer, err := c.caller.Call(ctx, caller.Request{Method: method, Path: path, Query: query, Header: h, Body: in}, &items)
	if err != nil {
		return Page{}, err
	}
	return Page{Kind: answer.Get("x-ms-item-type"), Items: items, Continuation: answer.Get("x-ms-continuation")}, nil
}

// FindAll ranges over everything a query finds; an error ends it.
func (c *Client) FindAll(ctx context.Context, query string) iter.Seq2[json.RawMessage, error] {
	return all(func(continuation string) (Page, error) { return c.Find(ctx, query, 0, continuation) })
}

func all(read func(continuation string) (Page, error)) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for next := ""; ; {
			p, err := read(next)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if next = p.Continuation; next == "" {
				return
			}
		}
	}
}

// Plan tells how the hub answers a query: its SQL, and how the database goes about it.
func (c *Client) Plan(ctx context.Context, query string) (string, error) {
	var out struct{ Plan string }
	err := c.call(ctx, http.MethodPost, "/isthmus/v1/query/plan", nil, "", map[string]string{"query": query}, &out)
	return out.Plan, err
}

// Indexes lists the properties that queries find through an index.
func (c *Client) Indexes(ctx context.Context) ([]string, error) {
	var out []string
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/indexes", nil, "", nil, &out)
	return out, err
}

// DeclareIndex has a property of all twins indexed, such as properties.reported.firmware.
func (c *Client) DeclareIndex(ctx context.Context, property string) error {
	return c.call(ctx, http.MethodPut, "/isthmus/v1/indexes/"+url.PathEscape(property), nil, "", nil, nil)
}

// DropIndex takes an index away.
func (c *Client) DropIndex(ctx context.Context, property string) error {
	return c.call(ctx, http.MethodDelete, "/isthmus/v1/indexes/"+url.PathEscape(property), nil, "", nil, nil)
}
