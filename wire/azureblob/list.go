package azureblob

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ListHead is what the answer to a list repeats of the question.
type ListHead struct {
	Endpoint  string // https://lake.blob.example/
	Container string // empty for a list of containers
	Prefix    string
	Marker    string
	Limit     int // 0: the question says none
	Delimiter string
}

// ListedContainer is a container in a list.
type ListedContainer struct {
	Name     string
	ETag     string // not quoted
	Modified time.Time
	Metadata map[string]string // nil: not asked for
}

// ListedBlob is a blob in a list, or a prefix of several.
type ListedBlob struct {
	Prefix   string // not empty for a prefix
	Name     string
	ETag     string // not quoted
	Created  time.Time
	Modified time.Time
	Size     int64

	ContentType, ContentEncoding, ContentLanguage, ContentDisposition, CacheControl string
	MD5                                                                             []byte

	LeaseState    string
	LeaseStatus   string
	LeaseDuration string
	CopyID        string // of a copy, when copies are asked for
	CopySource    string
	Metadata      map[string]string // nil: not asked for
}

// document writes XML.
type document struct{ strings.Builder }

// escapes are those that every reader of XML knows, and no numbers, which the Node SDK shows as they are.
var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// escaped writes text. What XML 1.0 cannot hold becomes U+FFFD.
func (d *document) escaped(text string) {
	text = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0xFFFE || r == 0xFFFF {
			return '\uFFFD'
		}
		return r
	}, text)
	_, _ = escapes.WriteString(d, text) // a Builder takes everything
}

func (d *document) open(name string)  { d.WriteString("<" + name + ">") }
func (d *document) close(name string) { d.WriteString("</" + name + ">") }

func (d *document) text(name, value string) {
	d.open(name)
	d.escaped(value)
	d.close(name)
}

// optional is text that is left out when there is none.
func (d *document) optional(name, value string) {
	if value != "" {
		d.text(name, value)
	}
}

func (d *document) begin(h ListHead) {
	d.WriteString(`<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="`)
	d.escaped(h.Endpoint)
	if h.Container != "" {
		d.WriteString(`" ContainerName="`)
		d.escaped(h.Container)
	}
	d.WriteString(`">`)
	d.optional("Prefix", h.Prefix)
	d.optional("Marker", h.Marker)
	if h.Limit > 0 {
		d.text("MaxResults", strconv.Itoa(h.Limit))
	}
	d.optional("Delimiter", h.Delimiter)
}

func (d *document) end(next string) []byte {
	d.text("NextMarker", next)
	d.close("EnumerationResults")
	return []byte(d.String())
}

func (d *document) metadata(m map[string]string) {
	if m == nil {
		return
	}
	d.open("Metadata")
	for _, name := range slices.Sorted(maps.Keys(m)) { // which are identifiers
		d.text(name, m[name])
	}
	d.close("Metadata")
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(http.TimeFormat)
}

// RenderContainers writes the answer of List Containers.
func RenderContainers(h ListHead, list []ListedContainer, next string) []byte {
	var d document
	d.begin(h)
	d.open("Containers")
	for _, c := range list {
		d.open("Container")
		d.text("Name", c.Name)
		d.open("Properties")
		d.text("Last-Modified", when(c.Modified))
		d.text("Etag", `"`+c.ETag+`"`)
		d.text("LeaseStatus", "unlocked")
		d.text("LeaseState", "available")
		d.text("HasImmutabilityPolicy", "false")
		d.text("HasLegalHold", "false")
		d.close("Properties")
		d.metadata(c.Metadata)
		d.close("Container")
	}
	d.close("Containers")
	return d.end(next)
}

// RenderBlobs writes the answer of List Blobs.
func RenderBlobs(h ListHead, list []ListedBlob, next string) []byte {
	var d document
	d.Grow(512 * (len(list) + 1))
	d.begin(h)
	d.open("Blobs")
	for i := range list {
		b := &list[i]
		if b.Prefix != "" {
			d.open("BlobPrefix")
			d.text("Name", b.Prefix)
			d.close("BlobPrefix")
			continue
		}
		d.blob(b)
	}
	d.close("Blobs")
	return d.end(next)
}

func (d *document) blob(b *ListedBlob) {
	d.open("Blob")
	d.text("Name", b.Name)
	d.open("Properties")
	d.text("Creation-Time", when(b.Created))
	d.text("Last-Modified", when(b.Modified))
	d.text("Etag", b.ETag) // without quotes here, with them in a list of containers
	d.text("Content-Length", strconv.FormatInt(b.Size, 10))
	d.text("Content-Type", b.ContentType)
	d.text("Content-Encoding", b.ContentEncoding)
	d.text("Content-Language", b.ContentLanguage)
	if len(b.MD5) > 0 {
		d.text("Content-MD5", base64.StdEncoding.EncodeToString(b.MD5))
	} else {
		d.text("Content-MD5", "")
	}
	d.text("Cache-Control", b.CacheControl)
	d.text("Content-Disposition", b.ContentDisposition)
	d.text("BlobType", "BlockBlob")
	d.text("LeaseStatus", b.LeaseStatus)
	d.text("LeaseState", b.LeaseState)
	d.optional("LeaseDuration", b.LeaseDuration)
	if b.CopyID != "" {
		d.text("CopyId", b.CopyID)
		d.text("CopyStatus", "success")
		d.text("CopySource", b.CopySource)
	}
	d.text("ServerEncrypted", "false")
	d.close("Properties")
	d.metadata(b.Metadata)
	d.close("Blob")
}
