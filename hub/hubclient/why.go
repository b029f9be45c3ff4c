package hubclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Why is what a hub knows about why a device or module does or does not work.
type Why struct {
	Hub      string    `json:"hub"`
	Name     string    `json:"name"`
	At       time.Time `json:"at"`
	Findings []Finding `json:"findings"` // what matters, the most important first

	Identity *struct {
		Status       string    `json:"status"`
		StatusReason string    `json:"statusReason"`
		AuthType     string    `json:"authenticationType"`
		Generation   string    `json:"generationId"`
		IoTEdge      bool      `json:"iotEdge"`
		LastActivity time.Time `json:"lastActivity"`
	} `json:"identity"`
	Session *struct {
		Door    string    `json:"door"`
		Side    string    `json:"side"`
		Link    uint32    `json:"link"`
		Peer    string    `json:"peer"`
		Since   time.Time `json:"since"`
		Active  time.Time `json:"lastActivity"`
		Listens []string  `json:"listens"`
	} `json:"session"`
	LastEnd *struct {
		At  time.Time `json:"at"`
		Why string    `json:"why"`
	} `json:"lastEnd"`
	Refusals []struct {
		Last   time.Time `json:"last"`
		Count  int       `json:"count"`
		Door   string    `json:"door"`
		Source string    `json:"source"`
		Why    string    `json:"why"`
		Next   string    `json:"next"`
	} `json:"refusals"`
	Throttling []struct {
		Class string    `json:"class"`
		Level string    `json:"level"`
		Since time.Time `json:"since"`
		Last  time.Time `json:"last"`
		Now   bool      `json:"now"`
		Count int64     `json:"count"`
	} `json:"throttling"`
	Commands int `json:"commandsWaiting"`
	Twin     *struct {
		Version         int64 `json:"version"`
		DesiredVersion  int64 `json:"desiredVersion"`
		ReportedVersion int64 `json:"reportedVersion"`
		TagsBytes       int   `json:"tagsBytes"`
		DesiredBytes    int   `json:"desiredBytes"`
		ReportedBytes   int   `json:"reportedBytes"`
	} `json:"twin"`
	Routes []struct {
		Name      string   `json:"name"`
		Endpoints []string `json:"endpointNames"`
		Matches   string   `json:"matches"` // yes, no, or by message
		Enabled   bool     `json:"isEnabled"`
	} `json:"routes"`
	Fallback bool `json:"fallback"`

	Raw json.RawMessage `json:"-"` // as the hub wrote it
}

// Finding is one thing that matters, in words.
type Finding struct {
	What string `json:"what"`
	Next string `json:"next"` // what to do about it; may be empty
	Bad  bool   `json:"bad"`
}

// Why asks why a device, or a module as "device/module", does or does not work.
func (c *Client) Why(ctx context.Context, name string) (Why, error) {
	device, module, isModule := strings.Cut(name, "/")
	path := "/isthmus/v1/devices/" + url.PathEscape(device)
	if isModule {
		path += "/modules/" + url.PathEscape(module)
	}
	var raw json.RawMessage
	if err := c.call(ctx, http.MethodGet, path+"/why", nil, "", nil, &raw); err != nil {
		return Why{}, err
	}
	out := Why{Raw: raw}
	return out, unreadable(json.Unmarshal(raw, &out))
}

func unreadable(err error) error {
	return fault.Wrap("hubclient.Why", fault.Unavailable, err, "the hub's answer cannot be read")
}
