package httpdoor

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage"
)

const metaPrefix = "X-Ms-Meta-"

// metadata is what the request says, names in lower case.
func (x *exchange) metadata() map[string]string {
	var out map[string]string
	for name, values := range x.Header {
		if key, ok := strings.CutPrefix(name, metaPrefix); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[strings.ToLower(key)] = strings.Join(values, ",")
		}
	}
	return out
}

// properties is what the request says of the content it sends.
func (x *exchange) properties() (storage.Properties, error) {
	h := x.Header
	p := storage.Properties{
		ContentType: h.Get("x-ms-blob-content-type"), ContentEncoding: h.Get("x-ms-blob-content-encoding"), ContentLanguage: h.Get("x-ms-blob-content-language"),
		ContentDisposition: h.Get("x-ms-blob-content-disposition"), CacheControl: h.Get("x-ms-blob-cache-control"), Metadata: x.metadata(),
	}
	if text := h.Get("x-ms-blob-content-md5"); text != "" {
		sum, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sum) != 16 {
			return p, coded(fault.New("httpdoor.properties", fault.Invalid, "x-ms-blob-content-md5 is not base64 of 16 bytes"), http.StatusBadRequest, "InvalidMd5")
		}
		p.MD5 = sum
	}
	return p, nil
}

// condition reads the conditional headers; prefix is that of a copy's source.
func (x *exchange) condition(prefix string) (storage.Condition, error) {
	var c storage.Condition
	get := func(name string) string { return strings.TrimSpace(x.Header.Get(prefix + name)) }
	for name, to := range map[string]*string{"If-Match": &c.IfMatch, "If-None-Match": &c.IfNoneMatch} {
		v := get(name)
		if strings.Contains(v, `",`) {
			return c, x.badHeader(prefix+name, "one etag or *")
		}
		*to = strings.Trim(strings.TrimPrefix(v, "W/"), `"`)
	}
	for name, to := range map[string]*time.Time{"If-Modified-Since": &c.ModifiedSince, "If-Unmodified-Since": &c.UnmodifiedSince} {
		v := get(name)
		if v == "" {
			continue
		}
		t, err := http.ParseTime(v)
		if err != nil {
			return c, x.badHeader(prefix+name, "a time as Mon, 02 Jan 2006 15:04:05 GMT")
		}
		*to = t
	}
	c.Lease = x.Header.Get("x-ms-lease-id")
	if prefix != "" {
		c.Lease = x.Header.Get("x-ms-source-lease-id")
	}
	return c, nil
}

func (x *exchange) badHeader(name, want string) error {
	return coded(fault.Newf("httpdoor.header", fault.Invalid, "the header %s is not %s", name, want), http.StatusBadRequest, "InvalidHeaderValue")
}

func (x *exchange) badQuery(name, want string) error {
	return coded(fault.Newf("httpdoor.query", fault.Invalid, "the parameter %s is not %s", name, want), http.StatusBadRequest, "InvalidQueryParameterValue")
}

// changed says in the answer what the blob, or container, is from now on.
func (x *exchange) changed(etag string, modified time.Time) {
	h := x.w.Header()
	h.Set("ETag", `"`+etag+`"`)
	h.Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
}

// describe says in the answer what a blob is.
func (x *exchange) describe(i storage.Info) {
	x.changed(i.ETag, i.Modified)
	h := x.w.Header()
	for name, value := range map[string]string{
		"Content-Encoding": i.ContentEncoding, "Content-Language": i.ContentLanguage, "Content-Disposition": i.ContentDisposition, "Cache-Control": i.CacheControl,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	for name, value := range i.Metadata {
		h.Set("x-ms-meta-"+name, value)
	}
	h.Set("Content-Type", "application/octet-stream")
	if i.ContentType != "" {
		h.Set("Content-Type", i.ContentType)
	}
	// Nobody's file is to be run as a page of the account.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Accept-Ranges", "bytes")
	h.Set("x-ms-blob-type", "BlockBlob")
	h.Set("x-ms-creation-time", i.Created.UTC().Format(http.TimeFormat))
	status, state, duration := leaseWords(i.Lease)
	h.Set("x-ms-lease-status", status)
	h.Set("x-ms-lease-state", state)
	if duration != "" {
		h.Set("x-ms-lease-duration", duration)
	}
	h.Set("x-ms-server-encrypted", "false")
	if c := i.Copied; c != nil {
		h.Set("x-ms-copy-id", c.ID)
		h.Set("x-ms-copy-source", c.Source)
		h.Set("x-ms-copy-status", "success")
		h.Set("x-ms-copy-completion-time", c.At.UTC().Format(http.TimeFormat))
	}
	if x.sas != nil {
		x.override()
	}
}

func leaseWords(l storage.LeaseInfo) (status, state, duration string) {
	status = "unlocked"
	if l.Locked {
		status, duration = "locked", "infinite"
		if l.Fixed {
			duration = "fixed"
		}
	}
	return status, l.State, duration
}
