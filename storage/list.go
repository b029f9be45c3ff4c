package storage

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

// Listing says which blobs of a container a page has.
type ListOptions struct {
	Prefix    string
	Delimiter string // blobs whose names go on behind it after the prefix are one entry
	Marker    string // of a page before; empty: the first
	Limit     int    // 0: MaxPage
}

// Entry is one of a page: a blob, or all that begins with a prefix.
type Entry struct {
	Prefix string // ends with the delimiter; empty for a blob
	Info
}

// Page is a part of a list.
type Page struct {
	Entries []Entry
	Next    string // marker of the next page; empty: there is none
}

const markerBegins = "1!"

// markerOf names the first thing of the next page.
func markerOf(name string) string {
	return markerBegins + base64.RawURLEncoding.EncodeToString([]byte(name))
}

// begin reads a marker, and bounds a limit.
func begin(marker string, limit int) (from string, most int, err error) {
	op := "storage.List"
	if limit < 0 {
		return "", 0, fault.Newf(op, fault.Invalid, "a page cannot have %d results", limit).Advise("1 to %d", MaxPage).Because(OutOfRange)
	}
	if limit == 0 || limit > MaxPage {
		limit = MaxPage
	}
	if marker == "" {
		return "", limit, nil
	}
	text, ok := strings.CutPrefix(marker, markerBegins)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) > 4*maxName || !wide(string(b)) {
		return "", 0, fault.New(op, fault.Invalid, "the marker is not one that a list ended with").Advise("pass NextMarker of the page before, unchanged").Because(OutOfRange)
	}
	return string(b), limit, nil
}

const (
	rowsBelow    = 256     // read at a time where most may belong to one prefix
	rowsAtOnce   = 1000    // and elsewhere
	maxPageBytes = 4 << 20 // of names and metadata, with which a page ends before its time
)

// List returns a page of a container's blobs, by name. A page has no more than limit entries, prefixes among them.
func (a *Account) List(ctx context.Context, container string, o ListOptions) (Page, error) {
	op := "storage.List"
	from, limit, err := begin(o.Marker, o.Limit)
	if err != nil {
		return Page{}, err
	}
	if _, err := a.container(ctx, op, container); err != nil || !wide(o.Prefix) {
		return Page{}, err
	}
	tx := a.server.store.Reading(ctx)
	var out Page
	bytes := 0
	for {
		want := min(limit-len(out.Entries)+1, rowsAtOnce)
		if o.Delimiter != "" {
			want = min(want, rowsBelow)
		}
		rows, err := tx.Blobs(a.id, container, o.Prefix, from, want)
		if err != nil {
			return Page{}, err
		}
		whole := len(rows) < want
		last := ""
		for _, b := range rows {
			if last != "" && strings.HasPrefix(b.Name, last) {
				continue
			}
			last = below(b.Name, o.Prefix, o.Delimiter)
			if len(out.Entries) == limit {
				out.Next = markerOf(b.Name)
				if last != "" {
					out.Next = markerOf(last)
				}
				return out, nil
			}
			if last != "" {
				out.Entries = append(out.Entries, Entry{Prefix: last})
				continue
			}
			out.Entries = append(out.Entries, Entry{Info: a.info(b)})
			if bytes += weight(b); bytes >= maxPageBytes {
				limit = len(out.Entries)
			}
		}
		if whole {
			return out, nil
		}
		var more bool
		if last == "" {
			from = rows[len(rows)-1].Name + "\x01" // the least that may come after: names have no control characters
			continue
		}
		if from, more = storagestore.After(last); !more {
			return out, nil
		}
	}
}

// below is the prefix that a name is an entry of, empty when it is one itself.
func below(name, prefix, delimiter string) string {
	if delimiter == "" {
		return ""
	}
	if i := strings.Index(name[len(prefix):], delimiter); i >= 0 {
		return name[:len(prefix)+i+len(delimiter)]
	}
	return ""
}

// weight is about how much a blob takes of a list.
func weight(b storagestore.Blob) int {
	n := 512 + len(b.Name)
	for name, value := range b.Properties.Metadata {
		n += len(name) + len(value)
	}
	return n
}
