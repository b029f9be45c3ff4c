package httpdoor

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
)

// Media types of recordings: asciicast v2, and the encrypted file when only others have its keys.
const (
	mediaCast   = "application/x-asciicast"
	mediaSealed = "application/vnd.isthmus.recording"
)

const (
	recordingPath = memberPrefix + "access/recordings/{session}"
	maxRecords    = 8 << 20 // bytes of records that a member sends at once
	maxCopyPause  = 30 * time.Second
)

type sessionsInput struct {
	Tenant  string    `query:"tenant" doc:"only into targets of this tenant" example:"ot"`
	Target  string    `query:"target" doc:"only into this target" example:"ot/plant-7/press-4-ssh"`
	Person  string    `query:"person" doc:"only of the person with this name" example:"alice@example.net"`
	Grant   string    `query:"grant" doc:"only of this grant"`
	Open    bool      `query:"open" doc:"only those that are open"`
	Refused bool      `query:"refused" doc:"those that were refused too"`
	Before  time.Time `query:"before" doc:"only opened before this time; for paging"`
	Limit   int       `query:"limit" minimum:"1" maximum:"1000" doc:"how many; 100 when absent"`
}

type recordsBody struct {
	Records []session.Record `json:"records"`
}

type hostKeyBody struct {
	PublicKey string `json:"publicKey" doc:"as in an ssh_host_ed25519_key.pub file"`
}

func (d *door) registerSessions() {
	handle(d, route{id: "list-sessions", method: http.MethodGet, path: "/v1/access/sessions", access: person, tag: "access",
		summary: "List one's own sessions, or those into the tenant's targets"},
		func(ctx context.Context, in *sessionsInput) (*many[control.SessionView], error) {
			list, err := d.ctl.Sessions(ctx, principal(ctx), control.SessionFilter{
				Tenant: in.Tenant, Target: in.Target, Person: in.Person, Grant: in.Grant, Open: in.Open, Refused: in.Refused, Before: in.Before, Limit: in.Limit})
			if err != nil {
				return nil, err
			}
			return &many[control.SessionView]{Body: items[control.SessionView]{emptyNotNull(list)}}, nil
		})
	path := "/v1/access/sessions/{id}/recording"
	handle(d, route{id: "get-recording", method: http.MethodGet, path: path, access: person, tag: "access", summary: "Replay a session"},
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
		}) (*huma.StreamResponse, error) {
			r, err := d.ctl.Recording(ctx, principal(ctx), in.ID)
			if err != nil {
				return nil, err
			}
			return &huma.StreamResponse{Body: func(hctx huma.Context) { d.sendRecording(hctx, r) }}, nil
		})
	d.api.OpenAPI().Paths[path].Get.Responses["200"] = &huma.Response{
		Description: "The recording: asciicast v2, or the encrypted file when only others have its keys.",
		Content:     map[string]*huma.MediaType{mediaCast: {Schema: &huma.Schema{Type: "string", Format: "binary"}}, mediaSealed: {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	d.registerLeaders()
}

// sendRecording copies a recording to its reader, who may take as long as he likes so long as he takes something now and then. One that breaks off is cut,
// so that nobody takes it for whole.
func (d *door) sendRecording(hctx huma.Context, r control.RecordingContent) {
	defer func() { _ = r.Close() }() // it was only read
	_, w := humago.Unwrap(hctx)
	rc := http.NewResponseController(w)
	media := mediaCast
	if r.Sealed {
		media = mediaSealed
		w.Header().Set("Content-Length", strconv.FormatInt(r.Size, 10))
	}
	w.Header().Set("Content-Type", media)
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		_ = rc.SetWriteDeadline(time.Now().Add(maxCopyPause))
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err == io.EOF { //nolint:errorlint // readers return it as it is
			return
		}
		if err != nil {
			d.log.Warn("a recording could not be read to its end", "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}

// registerLeaders registers what processes that lead to targets tell and ask.
func (d *door) registerLeaders() {
	handleBody(d, route{id: "note-sessions", method: http.MethodPost, path: memberPrefix + "access/sessions", access: member, tag: "members",
		status: http.StatusNoContent, summary: "Tell of sessions", maxBody: maxRecords},
		func(ctx context.Context, _ *body, b recordsBody) (*struct{}, error) {
			return nil, orRemoved(d.ctl.NoteSessions(ctx, memberOf(ctx).id, b.Records))
		})
	handleBody(d, route{id: "certify-session", method: http.MethodPost, path: memberPrefix + "access/session-certificates", access: member, tag: "members",
		status: http.StatusCreated, summary: "Have a key certified for logging in for a person whose session is recorded"},
		func(ctx context.Context, _ *body, b control.SessionCertificateRequest) (*sshCertificate, error) {
			c, err := d.ctl.CertifySession(ctx, memberOf(ctx).id, b)
			if err != nil {
				return nil, orRemoved(err)
			}
			return &sshCertificate{c}, nil
		})
	handleBody(d, route{id: "certify-host", method: http.MethodPost, path: memberPrefix + "access/host-certificates", access: member, tag: "members",
		status: http.StatusCreated, summary: "Have a host key certified for the targets one leads to"},
		func(ctx context.Context, _ *body, b hostKeyBody) (*sshCertificate, error) {
			c, err := d.ctl.HostCertificate(ctx, memberOf(ctx).id, b.PublicKey)
			if err != nil {
				return nil, orRemoved(err)
			}
			return &sshCertificate{c}, nil
		})
	handle(d, route{id: "put-recording", method: http.MethodPut, path: recordingPath, access: member, tag: "members",
		status: http.StatusNoContent, summary: "Send the recording of a session"},
		func(ctx context.Context, in *struct {
			Session string `path:"session" doc:"the session's id"`
			Digest  string `header:"Content-Digest" doc:"of the whole content (RFC 9530)" example:"sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"`
		}) (*struct{}, error) {
			r := requestOf(ctx)
			if r.ContentLength < 0 {
				return nil, fault.New("httpdoor.putRecording", fault.Invalid, "the request does not say how long the recording is").Advise("send a Content-Length")
			}
			sum, err := contentDigest(in.Digest)
			if err != nil {
				return nil, err
			}
			_, w := humago.Unwrap(ctx.Value(keyRequest).(huma.Context))
			body := &patient{Reader: r.Body, rc: http.NewResponseController(w), end: time.Now().Add(requestLimit + time.Duration(r.ContentLength/slowestUpload)*time.Second)}
			return nil, orRemoved(d.ctl.PutRecording(ctx, memberOf(ctx).id, in.Session, body, r.ContentLength, sum))
		})
	op := d.api.OpenAPI().Paths[recordingPath].Put
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}
}

// contentDigest takes the SHA-256 out of a Content-Digest (RFC 9530 2, a dictionary of RFC 8941), in hexadecimal.
func contentDigest(header string) (string, error) {
	for part := range strings.SplitSeq(header, ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(part), "sha-256=:")
		if !ok {
			continue
		}
		text, ok = strings.CutSuffix(text, ":")
		if sum, err := base64.StdEncoding.DecodeString(text); ok && err == nil && len(sum) == sha256.Size {
			return hex.EncodeToString(sum), nil
		}
	}
	return "", fault.New("httpdoor.contentDigest", fault.Invalid, "the request carries no SHA-256 of the recording").Advise("send it as: Content-Digest: sha-256=:BASE64:")
}

// slowestUpload is at how many bytes a second a recording has to come: room is kept for all of it meanwhile.
const slowestUpload = 8 << 10

// patient reads a body of any length so long as some of it comes now and then, and all of it in time.
type patient struct {
	io.Reader
	rc  *http.ResponseController
	end time.Time
}

func (p *patient) Read(b []byte) (int, error) {
	until := time.Now().Add(maxCopyPause)
	if p.end.Before(until) {
		until = p.end
	}
	_ = p.rc.SetReadDeadline(until) // not every server can
	n, err := p.Reader.Read(b)
	_ = p.rc.SetWriteDeadline(time.Now().Add(requestLimit))
	return n, err
}
