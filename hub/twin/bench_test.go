package twin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub/twin"
)

// BenchmarkPatch reads a small patch and merges it into a document of 2 KB, as the hub does for each report.
func BenchmarkPatch(b *testing.B) {
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, `,"sensor%02d":{"value":%d,"unit":"C","since":"2026-11-22"}`, i, i*1000)
	}
	d := device(b, twin.New(), "{"+text.String()[1:]+"}", noon)
	patch := []byte(`{"sensor07":{"value":7,"unit":"C"},"uptime":1234}`)
	b.SetBytes(int64(len(d.Reported.Text)))
	b.ReportAllocs()
	var m twin.Merger
	for b.Loop() {
		c, err := twin.ReadReported(patch)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = m.With(d, c, later); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJSON renders the same document for a service.
func BenchmarkJSON(b *testing.B) {
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, `,"sensor%02d":{"value":%d,"unit":"C","since":"2026-11-22"}`, i, i*1000)
	}
	d := device(b, twin.New(), "{"+text.String()[1:]+"}", noon)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.AppendJSON(nil); err != nil {
			b.Fatal(err)
		}
	}
}
