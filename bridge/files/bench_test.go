package files

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/resource"
)

// nowhere is a sink that makes files and keeps none.
type nowhere struct{}

func (nowhere) put(_ context.Context, _, _ string, _ int64, render func(io.Writer) error) error {
	return render(io.Discard)
}
func (nowhere) close() error { return nil }

// Events of 256 bytes in batches of 1,000 and files of 100,000, without the disk they end on.
func BenchmarkFormats(b *testing.B) {
	columns := []resource.Column{{Name: "device", Value: "@device"}, {Name: "celsius", Type: resource.ColumnNumber}, {Name: "at", Type: resource.ColumnTime}}
	for _, c := range []struct {
		name string
		f    resource.Files
	}{
		{"raw", resource.Files{Format: resource.FormatRaw}},
		{"json", resource.Files{}},
		{"json-columns", resource.Files{Columns: columns}},
		{"json-gzip", resource.Files{Compress: true}},
		{"csv", resource.Files{Format: resource.FormatCSV, Columns: columns}},
		{"parquet", resource.Files{Format: resource.FormatParquet, Columns: columns}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.f.Path = "date={yyyy}-{MM}-{dd}/hour={HH}"
			folder := b.TempDir()
			f := open(b, onDisk(c.f, folder, b.TempDir()))
			defer f.Close()
			if err := f.sink.close(); err != nil {
				b.Fatal(err)
			}
			f.sink = nowhere{}
			batch := make([]*event.Event, 1000)
			for i := range batch {
				batch[i] = reading("0", int64(i), fmt.Sprintf(`{"celsius":%.3f,"at":"2026-01-31T12:00:00.%03dZ","note":%q}`, 20+float64(i)/37, i, strings.Repeat("x", 180)))
			}
			n := 0
			for b.Loop() {
				if err := f.Write(b.Context(), "0", batch); err != nil {
					b.Fatal(err)
				}
				if n += 1000; n%100_000 == 0 {
					if err := f.Flush(b.Context(), "0"); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
