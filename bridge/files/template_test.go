package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/resource"
)

// memory is a sink that keeps whole files.
type memory map[string][]byte

func (m memory) put(_ context.Context, name, _ string, _ int64, render func(io.Writer) error) error {
	var b bytes.Buffer
	err := render(&b)
	if err == nil {
		m[name] = b.Bytes()
	}
	return err
}

func (m memory) close() error { return nil }

// breaks is a sink that fails after some files.
type breaks struct {
	sink
	after int
}

func (b *breaks) put(ctx context.Context, name, kind string, size int64, render func(io.Writer) error) error {
	if b.after--; b.after < 0 {
		return errors.New("the disk is away")
	}
	return b.sink.put(ctx, name, kind, size, render)
}

// Whatever devices call themselves and columns hold, a path stays below its folder, is of bounded length and no file system's exception.
func FuzzPath(f *testing.F) {
	for _, v := range []string{"press-4", "", ".", "..", "../../etc", "a/b", `a\b`, "con", "NUL.txt", "a.", ".isthmus-1", "\x00", "ü", strings.Repeat("x", 500), "a%2Fb", "a:b"} {
		f.Add("d={yyyy}-{MM}/{device}/{hall}x.{partition}", v, v)
		f.Add("{device}", v, v)
	}
	f.Add("a/{device}{device}/b", "..", ".")
	f.Fuzz(func(t *testing.T, text, device, hall string) {
		var set column.Set
		tm, err := parseTemplate(text, []resource.Column{{Name: "hall"}}, &set)
		if err != nil {
			return
		}
		look := set.Look()
		e := &event.Event{Origin: event.Origin{Partition: "0"}, Key: device, Body: column.AppendQuoted([]byte(`{"hall":`), hall)}
		e.Body = append(e.Body, '}')
		look.At(e)
		got, err := tm.path(e, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), look)
		if err != nil {
			return
		}
		if got == "" || len(got) > maxPath || path.Clean(got) != got || path.IsAbs(got) {
			t.Fatalf("%q", got)
		}
		if n := strings.Count(text, "/"); strings.Count(got, "/") != n {
			t.Fatalf("%q has other parts than %q", got, text)
		}
		for part := range strings.SplitSeq(got, "/") {
			base, _, _ := strings.Cut(strings.ToLower(part), ".")
			if part == "" || part[0] == '.' || part[len(part)-1] == '.' || reserved(base) || len(part) > maxSegment+6 {
				t.Fatalf("%q has the part %q", got, part)
			}
			for i := range len(part) {
				if c := part[i]; c <= ' ' || c >= 0x7F || strings.IndexByte(`\:*?"<>|/`, c) >= 0 {
					t.Fatalf("%q has %q", got, c)
				}
			}
		}
	})
}

// Different devices have different paths.
func TestPathsDiffer(t *testing.T) {
	var set column.Set
	tm, err := parseTemplate("{device}", nil, &set)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	long := strings.Repeat("x", 300)
	for _, id := range []string{"a", "A", "a.", "a%2E", ".a", "%2Ea", "a/b", "a%2Fb", "..", ".", "con", "%63on", long + "1", long + "2", "ü", fmt.Sprintf("%q", "ü")} {
		e := &event.Event{Key: id}
		got, err := tm.path(e, time.Time{}, set.Look())
		if err != nil || seen[got] != "" {
			t.Errorf("%q is %q, as is %q: %v", id, got, seen[got], err)
		}
		seen[got] = id
	}
}
