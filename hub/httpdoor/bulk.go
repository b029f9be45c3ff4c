package httpdoor

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// bulkJSON is one device of a bulk request: its id has another name there.
type bulkJSON struct {
	deviceJSON
	ID         string `json:"id"`
	ImportMode string `json:"importMode"`
}

type bulkError struct {
	DeviceID    string  `json:"deviceId"`
	ErrorCode   string  `json:"errorCode"`
	ErrorStatus string  `json:"errorStatus"`
	ModuleID    *string `json:"moduleId"`
	Operation   string  `json:"operation"`
}

type bulkResult struct {
	IsSuccessful bool        `json:"isSuccessful"`
	Errors       []bulkError `json:"errors"`
	Warnings     []string    `json:"warnings"`
}

func changeDevices(x *exchange) error {
	op := "httpdoor.changeDevices"
	var list []bulkJSON
	if err := x.decode(maxBulkBody, &list); err != nil {
		return err
	}
	if len(list) == 0 || len(list) > maxBulk {
		return fault.Newf(op, fault.Invalid, "the request changes %d devices", len(list)).Advise("send 1 to %d at a time", maxBulk)
	}
	changes := make([]hub.Change, len(list))
	for i, j := range list {
		if j.ID != "" {
			j.DeviceID = j.ID
		}
		c := hub.Change{Device: fromJSON(j.deviceJSON)}
		etag := strings.Trim(j.ETag, `"`)
		switch strings.ToLower(j.ImportMode) {
		case "", "create":
		case "update":
			c.Mode, c.IfMatch = hub.Update, hub.AnyETag
		case "updateifmatchetag":
			c.Mode, c.IfMatch = hub.Update, etag
		case "delete":
			c.Mode, c.IfMatch = hub.Delete, hub.AnyETag
		case "deleteifmatchetag":
			c.Mode, c.IfMatch = hub.Delete, etag
		default:
			return fault.Newf(op, fault.Invalid, "importMode of device %q is %.40q", j.DeviceID, j.ImportMode).
				Advise("use create, update, updateIfMatchETag, delete or deleteIfMatchETag")
		}
		changes[i] = c
	}
	results, err := x.hub.ChangeDevices(x.Context(), changes)
	if err != nil {
		return err
	}
	out := bulkResult{IsSuccessful: true, Errors: []bulkError{}, Warnings: []string{}}
	for i, r := range results {
		if r.Err == nil {
			continue
		}
		out.IsSuccessful = false
		out.Errors = append(out.Errors, bulkError{
			DeviceID: changes[i].Device.ID, ErrorCode: answers[fault.KindOf(r.Err)].name, ErrorStatus: fault.Message(r.Err), Operation: strings.ToLower(list[i].ImportMode),
		})
	}
	if out.IsSuccessful {
		return x.reply(out)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	x.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	x.w.Header().Set("iothub-errorcode", "BulkRegistryOperationFailure")
	x.w.WriteHeader(http.StatusBadRequest)
	_, _ = x.w.Write(b) // a client that went needs no answer
	return nil
}
