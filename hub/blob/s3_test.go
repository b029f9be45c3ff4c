//go:build !slim

package blob_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// clouds are stand-ins for the object stores that a slim program does not have.
var clouds = map[string]func(*testing.T) string{"s3": fakeS3}

// object is what the stand-in below keeps.
type object struct {
	body    []byte
	head    http.Header
	changed time.Time
}

// fakeS3 is as much of an S3 server as a small object needs. It returns the URL of its bucket.
func fakeS3(t *testing.T) string {
	t.Helper()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(name, value)
	}
	var mu sync.Mutex
	objects := map[string]object{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		key, ok := strings.CutPrefix(r.URL.Path, "/bucket/")
		o, have := objects[key]
		switch {
		case !ok || key == "": // is it there?
			w.Header().Set("Content-Type", "application/xml")
			_, _ = io.WriteString(w, `<?xml version="1.0"?><ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount></ListBucketResult>`)
		case r.Method == http.MethodPut:
			b, err := payload(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			objects[key] = object{b, r.Header.Clone(), time.Now()}
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, objects[key].changed.UnixNano()))
		case !have:
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>`)
		case r.Method == http.MethodDelete:
			delete(objects, key)
			w.WriteHeader(http.StatusNoContent)
		default:
			for name, values := range o.head {
				if strings.HasPrefix(name, "X-Amz-Meta-") || name == "Content-Type" || name == "Cache-Control" {
					w.Header()[name] = values
				}
			}
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, o.changed.UnixNano()))
			http.ServeContent(w, r, "", o.changed, bytes.NewReader(o.body))
		}
	}))
	t.Cleanup(s.Close)
	return "s3://bucket?region=eu-central-1&use_path_style=true&response_checksum_validation=when_required&endpoint=" + s.URL
}

// payload is the body, which SDKs send in chunks of their own when they add a checksum at its end.
func payload(r *http.Request) ([]byte, error) {
	if !strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") && !strings.HasPrefix(r.Header.Get("x-amz-content-sha256"), "STREAMING") {
		return io.ReadAll(r.Body)
	}
	var out []byte
	in := bufio.NewReader(r.Body)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil || n == 0 {
			_, _ = io.Copy(io.Discard, in)
			return out, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		out = append(out, chunk[:n]...)
	}
}
