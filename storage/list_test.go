package storage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/storage/storagetest"
)

// listed is the slow twin of List: all names in order, those below a prefix with the delimiter once.
func listed(names []string, prefix, delimiter string) []string {
	slices.Sort(names)
	var out []string
	for _, n := range names {
		if !strings.HasPrefix(n, prefix) {
			continue
		}
		if i := strings.Index(n[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			if p := "prefix " + n[:len(prefix)+i+len(delimiter)]; len(out) == 0 || out[len(out)-1] != p {
				out = append(out, p)
			}
			continue
		}
		out = append(out, n)
	}
	return out
}

// putAll makes empty blobs together, so that they share a transaction.
func (w *world) putAll(container string, names []string) error {
	var all errgroup.Group
	for _, n := range names {
		all.Go(func() error {
			_, err := w.Account.Put(w.t.Context(), storage.Ref{Container: container, Name: n}, storage.Properties{}, storage.Condition{}, 0, nil)
			return err
		})
	}
	return all.Wait()
}

func TestListIsItsTwin(t *testing.T) {
	w := start(t, storagetest.Options{})
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab/-~ü\U0010FFFF\uD7FF")), 1, 6, -1)
	made := 0
	rapid.Check(t, func(r *rapid.T) {
		made++
		container := fmt.Sprintf("list-%d", made)
		if _, err := w.Account.CreateContainer(t.Context(), container, nil); err != nil {
			r.Fatal(err)
		}
		names := rapid.SliceOfNDistinct(text, 0, 16, rapid.ID).Draw(r, "names")
		if err := w.putAll(container, names); err != nil {
			r.Fatal(err)
		}
		for range 4 {
			o := storage.ListOptions{
				Prefix: rapid.OneOf(rapid.Just(""), text).Draw(r, "prefix"), Delimiter: rapid.SampledFrom([]string{"", "/", "-", "a/", "\U0010FFFF", "\uD7FF"}).Draw(r, "delimiter"),
				Limit: rapid.IntRange(1, 8).Draw(r, "limit"),
			}
			var got []string
			for {
				p, err := w.Account.List(t.Context(), container, o)
				if err != nil || len(p.Entries) > o.Limit {
					r.Fatalf("%d entries, %v", len(p.Entries), err)
				}
				for _, e := range p.Entries {
					if e.Prefix != "" {
						e.Name = "prefix " + e.Prefix
					}
					got = append(got, e.Name)
				}
				if o.Marker = p.Next; p.Next == "" {
					break
				}
			}
			if want := listed(names, o.Prefix, o.Delimiter); !slices.Equal(got, want) {
				r.Fatalf("%+v:\n%q\n%q", o, got, want)
			}
		}
	})
}

// A list of a few prefixes with many blobs each reads little of them.
func TestListsOfManyBlobs(t *testing.T) {
	w := start(t, storagetest.Options{})
	names := []string{"end"}
	for i := range 1200 {
		names = append(names, fmt.Sprintf("%d/%04d", i%3, i))
	}
	must(t, w.putAll("ccc", names))
	p, err := w.Account.List(t.Context(), "ccc", storage.ListOptions{Delimiter: "/"})
	if err != nil || len(p.Entries) != 4 || p.Entries[2].Prefix != "2/" || p.Entries[3].Name != "end" {
		t.Errorf("%+v, %v", p, err)
	}
}

// A page ends before it has too much metadata.
func TestPagesAreBounded(t *testing.T) {
	w := start(t, storagetest.Options{})
	heavy := map[string]string{"a": strings.Repeat("x", 8000)}
	const all = 600
	var put errgroup.Group
	for i := range all {
		put.Go(func() error {
			_, err := w.Account.Put(t.Context(), at(fmt.Sprintf("%04d", i)), storage.Properties{Metadata: heavy}, storage.Condition{}, 0, nil)
			return err
		})
	}
	must(t, put.Wait())
	first, err := w.Account.List(t.Context(), "ccc", storage.ListOptions{})
	must(t, err)
	second, err := w.Account.List(t.Context(), "ccc", storage.ListOptions{Marker: first.Next})
	if n, m := len(first.Entries), len(second.Entries); err != nil || n > 550 || n+m != all || second.Next != "" {
		t.Errorf("%d entries and then %d, %v", n, m, err)
	}
}

func FuzzMarkers(f *testing.F) {
	f.Add(storage.MarkerOf("a/b"))
	f.Add("1!")
	f.Add("2!YQ")
	f.Fuzz(func(t *testing.T, marker string) {
		from, err := storage.Begin(marker)
		if err == nil && marker != "" && storage.MarkerOf(from) != marker {
			t.Errorf("%q means %q", marker, from)
		}
	})
}

func FuzzBlocks(f *testing.F) {
	f.Add(storage.EncodeBlocks([]storage.Block{{ID: "a", Size: 1}, {ID: "\x00", Size: 1 << 40}}))
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := storage.DecodeBlocks(b)
		if err != nil {
			return
		}
		again, err := storage.DecodeBlocks(storage.EncodeBlocks(list))
		if err != nil || !slices.Equal(list, again) {
			t.Errorf("%v becomes %v, %v", list, again, err)
		}
	})
}
