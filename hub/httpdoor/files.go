package httpdoor

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blobdoor"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/resource"
)

const maxFileBody = 8 << 10 // of a request about a file; the file itself comes to hub/blobdoor

// fileRoutes are those of Config.Files (IoT Hub: upload files; device REST API, Get File Upload SAS URI and Update File Upload Status).
func fileRoutes() []route {
	const news = "messages/servicebound/filenotifications"
	return []route{
		{method: "POST", path: "devices/{device}/files", by: byDevice, class: limit.Uploads, serve: withFiles(beginFile)},
		{method: "POST", path: "devices/{device}/files/notifications", by: byDevice, serve: withFiles(endFile)},
		{method: "POST", path: "devices/{device}/files/notifications/{name}", by: byDevice, serve: withFiles(endFile)},
		{method: "GET", path: news, right: hub.ServiceConnect, serve: withFiles(receiveFileNotification)},
		{method: "DELETE", path: news + "/{name}", right: hub.ServiceConnect, serve: withFiles(completeFileNotification)},
		{method: "POST", path: news + "/{name}/abandon", right: hub.ServiceConnect, serve: withFiles(abandonFileNotification)},
		{method: "POST", path: "isthmus/v1/files/links", right: hub.ServiceConnect, own: true, serve: withFiles(linkFile)},
		{method: "GET", path: "isthmus/v1/files/settings", right: hub.ServiceConnect, own: true, serve: withFiles(getFileSettings)},
		{method: "PATCH", path: "isthmus/v1/files/settings", right: hub.EveryRight, own: true, serve: withFiles(patchFileSettings)},
	}
}

// withFiles answers in words where no files are kept.
func withFiles(serve func(*exchange, *file.Service) error) func(*exchange) error {
	return func(x *exchange) error {
		if x.door.cfg.Files == nil {
			return code.With(fault.New("httpdoor.files", fault.NotFound, "this hub keeps no files"), code.NotFound)
		}
		return serve(x, x.door.cfg.Files)
	}
}

// isBlob tells whether a request is for a file itself, which another door answers in another protocol.
func (x *exchange) isBlob() bool {
	return x.door.blobs != nil && !x.local() && x.hub.Type() == resource.TypeIoTHub && blobdoor.Owns(x.URL.EscapedPath())
}

func (x *exchange) serveBlob() {
	err := x.door.blobs.Serve(x.hub, x.w, x.Request)
	switch kind := fault.KindOf(err); {
	case err == nil:
	case kind == fault.Unauthenticated || kind == fault.Denied || kind == fault.Expired || kind == fault.Exhausted: // of which there may be any number
		x.conn.Refuse(x.Method+" "+x.URL.Path, err) // the path only: the query is as good as a key
	case kind == fault.Internal || kind == fault.Unavailable:
		if !errors.Is(err, x.Context().Err()) || x.Context().Err() == nil {
			x.door.log.Error("hub: request failed", "door", "https", "method", x.Method, "path", x.URL.Path, "err", err)
		}
	}
}

// grantJSON is the answer that SDKs put together to a URL: https://{hostName}/{containerName}/{blobName}{sasToken}.
type grantJSON struct {
	CorrelationID string `json:"correlationId"`
	HostName      string `json:"hostName"`
	ContainerName string `json:"containerName"`
	BlobName      string `json:"blobName"`
	SASToken      string `json:"sasToken"`
}

func beginFile(x *exchange, files *file.Service) error {
	var in struct {
		BlobName string `json:"blobName"`
	}
	if err := x.decode(maxFileBody, &in); err != nil {
		return err
	}
	g, err := files.Begin(x.Context(), x.hub, x.device, in.BlobName, x.Host)
	if err != nil {
		return err
	}
	return x.reply(grantJSON{g.Correlation, g.Host, g.Container, g.Blob, g.Query})
}

func endFile(x *exchange, files *file.Service) error {
	var in struct {
		CorrelationID     string          `json:"correlationId"`
		IsSuccess         bool            `json:"isSuccess"`
		StatusCode        json.RawMessage `json:"statusCode"` // of what an object store said, if it said anything
		StatusDescription string          `json:"statusDescription"`
	}
	if err := x.decode(maxFileBody, &in); err != nil {
		return err
	}
	id := x.name // in the path, as Node has it, or in the body, as C# does
	if id == "" {
		id = in.CorrelationID
	}
	if x.name != "" && in.CorrelationID != "" && x.name != in.CorrelationID {
		return fault.Newf("httpdoor.endFile", fault.Invalid, "correlationId is %.60q and the path says %.60q", in.CorrelationID, x.name)
	}
	status, _ := strconv.Atoi(strings.Trim(string(in.StatusCode), `"`)) // for people only
	if err := files.Done(x.Context(), x.hub, x.device, id, file.Outcome{Success: in.IsSuccess, Status: status, Description: in.StatusDescription}); err != nil {
		return err
	}
	return x.nothing()
}

func receiveFileNotification(x *exchange, files *file.Service) error {
	n, err := files.Receive(x.Context(), x.hub, 0)
	if err != nil {
		return err
	}
	if n == nil {
		return x.nothing()
	}
	b, err := json.Marshal(n)
	if err != nil {
		return fault.Wrap("httpdoor.receiveFileNotification", fault.Internal, err, "")
	}
	x.setETag(n.Lock)
	x.w.Header().Set("Content-Type", file.NotificationType)
	_, _ = x.w.Write(b) // a client that went gets it again when the lock ends
	return nil
}

func completeFileNotification(x *exchange, files *file.Service) error {
	if err := files.Complete(x.Context(), x.hub, x.name); err != nil {
		return err
	}
	return x.nothing()
}

func abandonFileNotification(x *exchange, files *file.Service) error {
	if err := files.Abandon(x.Context(), x.hub, x.name); err != nil {
		return err
	}
	return x.nothing()
}

func linkFile(x *exchange, files *file.Service) error {
	var in struct {
		BlobName string `json:"blobName"`
		Seconds  int    `json:"seconds"`
	}
	if err := x.decode(maxFileBody, &in); err != nil {
		return err
	}
	host := x.Host
	if x.local() {
		host = x.hub.HostName()
	} else if err := x.mayAlso(file.Needs(in.BlobName)); err != nil {
		return err
	}
	link, expires, err := files.Link(x.Context(), x.hub, in.BlobName, host, time.Duration(in.Seconds)*time.Second)
	if err != nil {
		return elsewhere(err)
	}
	return x.reply(map[string]string{"url": link, "expires": expires.UTC().Format(time.RFC3339)})
}

func getFileSettings(x *exchange, files *file.Service) error {
	set, err := files.Settings(x.Context(), x.hub)
	if err != nil {
		return err
	}
	return x.reply(set)
}

func patchFileSettings(x *exchange, files *file.Service) error {
	b, err := x.body(maxFileBody)
	if err != nil {
		return err
	}
	set, err := files.SetSettings(x.Context(), x.hub, b, x.who())
	if err != nil {
		return err
	}
	return x.reply(set)
}
