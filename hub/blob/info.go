package blob

import (
	"context"
	"io"
	"time"
)

// Properties are what a writer says about a blob's content; readers get them again.
type Properties struct {
	ContentType        string            `json:"contentType,omitempty"`
	ContentEncoding    string            `json:"contentEncoding,omitempty"`
	ContentLanguage    string            `json:"contentLanguage,omitempty"`
	ContentDisposition string            `json:"contentDisposition,omitempty"`
	CacheControl       string            `json:"cacheControl,omitempty"`
	MD5                []byte            `json:"md5,omitempty"` // 16 bytes, or none
	Metadata           map[string]string `json:"metadata,omitempty"`
}

func (p Properties) empty() bool {
	return p.ContentType == "" && p.ContentEncoding == "" && p.ContentLanguage == "" && p.ContentDisposition == "" && p.CacheControl == "" &&
		len(p.MD5) == 0 && len(p.Metadata) == 0
}

// Info is what is known of a blob.
type Info struct {
	Properties
	Size     int64
	Modified time.Time
	ETag     string // not quoted; another one after every change
}

// keeper is where whole blobs are.
type keeper interface {
	// write makes the blob of what fill writes, whole or not at all.
	write(ctx context.Context, at []string, p Properties, fill func(io.Writer) error) (Info, error)
	stat(ctx context.Context, at []string) (Info, error)
	// read gives length bytes from offset on, all that are left when length is negative.
	read(ctx context.Context, at []string, offset, length int64) (io.ReadCloser, error)
	remove(ctx context.Context, at []string) error
	close() error
}
