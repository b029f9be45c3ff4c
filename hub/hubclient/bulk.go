package hubclient

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/caller"
	"github.com/isthmus-io/isthmus/hub/code"
)

// MaxBulk is how many devices one call of Change may name.
const MaxBulk = 100

// What a Change does.
const (
	ToCreate        = "create"
	ToUpdate        = "update"
	ToUpdateIfMatch = "updateIfMatchETag" // its ETag
	ToDelete        = "delete"
	ToDeleteIfMatch = "deleteIfMatchETag"
)

// Change creates, changes or deletes a device or a module.
type Change struct {
	Device
	Mode string // ToCreate and so on
}

// Change makes up to MaxBulk changes at once, each by itself. failed holds what is wrong with those that were not made, by Device.Name:
// Conflict for one that exists already, NotFound for one that does not exist.
func (c *Client) Change(ctx context.Context, changes []Change) (failed map[string]error, err error) {
	type item struct {
		Device
		ID   string `json:"id"`
		Mode string `json:"importMode"`
	}
	list := make([]item, len(changes))
	for i, ch := range changes {
		list[i] = item{ch.Device, ch.ID, ch.Mode}
	}
	ctx, cancel := context.WithTimeout(ctx, caller.Patience)
	defer cancel()
	r, err := c.caller.Exchange(ctx, caller.Request{Method: http.MethodPost, Path: "/devices", Body: list})
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	switch {
	case r.StatusCode == http.StatusOK:
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, caller.MaxReply)) // so that the connection serves the next request
		return nil, nil
	case r.Header.Get("iothub-errorcode") != "BulkRegistryOperationFailure":
		return nil, c.caller.Refused(r)
	}
	var out struct {
		Errors []struct {
			DeviceID, ModuleID, ErrorStatus string
			ErrorCode                       int
		}
	}
	if err := c.caller.Decode(r, &out); err != nil {
		return nil, err
	}
	failed = map[string]error{}
	for _, e := range out.Errors {
		failed[Device{ID: e.DeviceID, ModuleID: e.ModuleID}.Name()] = numbered(e.ErrorCode, e.ErrorStatus)
	}
	return failed, nil
}

// numbered is the error which one line of many has.
func numbered(number int, status string) error {
	c, ok := code.Numbered(number)
	if !ok {
		c = code.ArgumentInvalid
	}
	_, words, found := strings.Cut(status, ";")
	if !found {
		words = status
	}
	return code.With(fault.New("hubclient", kindOf(c.Status), words), c)
}
