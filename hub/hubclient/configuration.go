package hubclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// Configuration is what the hub keeps in the twins of all devices or modules for which a condition holds.
type Configuration struct {
	ID            string            `json:"id"`
	ETag          string            `json:"etag,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Content       json.RawMessage   `json:"content,omitempty"` // deviceContent, moduleContent or, of an edge deployment, modulesContent
	Target        string            `json:"targetCondition"`
	Priority      int64             `json:"priority"`
	Metrics       *Metrics          `json:"metrics,omitempty"`
	SystemMetrics *Metrics          `json:"systemMetrics,omitempty"` // only read
	Created       string            `json:"createdTimeUtc,omitempty"`
	Updated       string            `json:"lastUpdatedTimeUtc,omitempty"`
}

// Metrics are queries by name, and how many they found.
type Metrics struct {
	Queries map[string]string `json:"queries,omitempty"`
	Results map[string]int    `json:"results,omitempty"` // only read
}

func configuration(id string) string { return "/configurations/" + url.PathEscape(id) }

// CreateConfiguration adds one. Conflict when there is one of its id.
func (c *Client) CreateConfiguration(ctx context.Context, conf Configuration) (Configuration, error) {
	var out Configuration
	err := c.call(ctx, http.MethodPut, configuration(conf.ID), nil, "", conf, &out)
	return out, err
}

// UpdateConfiguration changes labels, condition, priority and metrics; the content stays as it was made. ifMatch is an etag or Any.
func (c *Client) UpdateConfiguration(ctx context.Context, conf Configuration, ifMatch string) (Configuration, error) {
	var out Configuration
	err := c.call(ctx, http.MethodPut, configuration(conf.ID), nil, ifMatch, conf, &out)
	return out, err
}

// Configuration reads one. NotFound when there is none.
func (c *Client) Configuration(ctx context.Context, id string) (Configuration, error) {
	var out Configuration
	err := c.call(ctx, http.MethodGet, configuration(id), nil, "", nil, &out)
	return out, err
}

// Configurations lists up to top of them.
func (c *Client) Configurations(ctx context.Context, top int) ([]Configuration, error) {
	var out []Configuration
	err := c.call(ctx, http.MethodGet, "/configurations", url.Values{"top": {strconv.Itoa(top)}}, "", nil, &out)
	return out, err
}

// DeleteConfiguration takes one away. ifMatch is an etag or Any.
func (c *Client) DeleteConfiguration(ctx context.Context, id, ifMatch string) error {
	return c.call(ctx, http.MethodDelete, configuration(id), nil, ifMatch, nil, nil)
}

// TestQueries tells what is wrong with a condition and with queries of metrics; empty is nothing.
func (c *Client) TestQueries(ctx context.Context, target string, metrics map[string]string) (wrongTarget string, wrong map[string]string, err error) {
	var out struct {
		Target  string            `json:"targetConditionError"`
		Metrics map[string]string `json:"customMetricQueryErrors"`
	}
	err = c.call(ctx, http.MethodPost, "/configurations/testQueries", nil, "", map[string]any{"targetCondition": target, "customMetricQueries": metrics}, &out)
	return out.Target, out.Metrics, err
}

// ApplyContent puts a content into the twins of one device and its modules.
func (c *Client) ApplyContent(ctx context.Context, device string, content json.RawMessage) error {
	return c.call(ctx, http.MethodPost, "/devices/"+url.PathEscape(device)+"/applyConfigurationContent", nil, "", content, nil)
}
