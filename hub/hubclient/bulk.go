package hubclient

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/isthmus-io/isthmus/fault"
)

// MaxBulk is how many devices one call of Change may name.
const MaxBulk = 100

// What a Change does.
const (
	ToCreate = "create"
	ToDelete = "delete"
)

// Change creates a device or deletes one.
type Change struct {
	Device
	Mode string // ToCreate or ToDelete
}

// Change makes up to MaxBulk changes at once, each by itself. failed holds what is wrong with those that were not made, by device id:
// Conflict for one that exists already, NotFound for one that does not exist.
func (c *Client) Change(ctx context.Context, changes []Change) (failed map[string]error, err error) {
	op := "hubclient.Change"
	type item struct {
		Device
		ID   string `json:"id"`
		Mode string `json:"importMode"`
	}
	list := make([]item, len(changes))
	for i, ch := range changes {
		list[i] = item{ch.Device, ch.ID, ch.Mode}
	}
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	r, err := c.exchange(ctx, http.MethodPost, "/devices", nil, "", list)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	switch {
	case r.StatusCode == http.StatusOK:
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxReply)) // so that the connection serves the next request
		return nil, nil
	case r.Header.Get("iothub-errorcode") != "BulkRegistryOperationFailure":
		return nil, refused(r)
	}
	var out struct {
		Errors []struct{ DeviceID, ErrorCode, ErrorStatus string }
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxReply)).Decode(&out); err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "the hub's answer cannot be read")
	}
	kinds := map[string]fault.Kind{"DeviceAlreadyExists": fault.Conflict, "DeviceNotFound": fault.NotFound}
	failed = map[string]error{}
	for _, e := range out.Errors {
		kind, ok := kinds[e.ErrorCode]
		if !ok {
			kind = fault.Invalid
		}
		failed[e.DeviceID] = fault.New(op, kind, e.ErrorStatus)
	}
	return failed, nil
}
