package httpdoor

import (
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

const (
	maxBulkBody = 1 << 20
	maxBulk     = 100
)

// bulkJSON is one device or module of a bulk request: a device's id has another name there.
type bulkJSON struct {
	deviceJSON
	ID         string  `json:"id"`
	ModuleID   string  `json:"moduleId"`
	ManagedBy  *string `json:"managedBy"`
	ImportMode string  `json:"importMode"`
}

// bulkError has the number of a code, as IoT Hub does, and its name before the words.
type bulkError struct {
	DeviceID    string  `json:"deviceId"`
	ErrorCode   int     `json:"errorCode"`
	ErrorStatus string  `json:"errorStatus"`
	ModuleID    *string `json:"moduleId"`
	Operation   string  `json:"operation"`
}

type bulkResult struct {
	IsSuccessful bool        `json:"isSuccessful"`
	Errors       []bulkError `json:"errors"`
	Warnings     []string    `json:"warnings"`
}

// change returns what one line of a bulk request wants.
func (j bulkJSON) change() (hub.Change, error) {
	if j.ID != "" {
		j.DeviceID = j.ID
	}
	c := hub.Change{Device: j.deviceJSON.store()}
	if j.ModuleID != "" {
		c.Device = moduleJSON{j.ModuleID, j.ManagedBy, j.identityJSON}.store()
	}
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
		return c, fault.Newf("httpdoor.bulk", fault.Invalid, "importMode of %s is %.40q", c.Device.Name().Words(), j.ImportMode).
			Advise("use create, update, updateIfMatchETag, delete or deleteIfMatchETag")
	}
	return c, nil
}

func changeDevices(x *exchange) error {
	op := "httpdoor.changeDevices"
	var list []bulkJSON
	if err := x.decode(maxBulkBody, &list); err != nil {
		return err
	}
	if len(list) == 0 || len(list) > maxBulk {
		err := fault.Newf(op, fault.Invalid, "the request changes %d devices", len(list)).Advise("send 1 to %d at a time", maxBulk)
		if len(list) > maxBulk {
			return code.With(err, code.TooManyDevices)
		}
		return err
	}
	changes := make([]hub.Change, len(list))
	for i, j := range list {
		var err error
		if changes[i], err = j.change(); err != nil {
			return err
		}
	}
	if err := x.count(limit.Registry, len(changes)); err != nil {
		return err
	}
	results, err := x.hub.ChangeDevices(x.Context(), changes)
	if err != nil {
		return err
	}
	out := bulkResult{IsSuccessful: true, Errors: []bulkError{}, Warnings: []string{}}
	for i, r := range results {
		if r.Err != nil {
			out.Errors = append(out.Errors, bulkErrorOf(changes[i].Device, list[i].ImportMode, r.Err))
		}
	}
	if len(out.Errors) == 0 {
		return x.reply(out)
	}
	out.IsSuccessful = false
	x.w.Header().Set("iothub-errorcode", code.BulkFailure.Name)
	return x.replyWith(http.StatusBadRequest, out)
}

func bulkErrorOf(d hubstore.Device, mode string, err error) bulkError {
	c := code.Of(err)
	return bulkError{
		DeviceID: d.ID, ErrorCode: c.Number, ErrorStatus: c.Name + ";" + fault.Message(err), ModuleID: orNull(d.Module), Operation: strings.ToLower(mode),
	}
}
