package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
)

func open(t testing.TB, cfg blob.Config) *blob.Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := blob.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// each runs a test with blobs on a disk and in buckets.
func each(t *testing.T, test func(t *testing.T, cfg blob.Config)) {
	t.Helper()
	t.Run("disk", func(t *testing.T) { test(t, blob.Config{Dir: t.TempDir()}) })
	t.Run("mem", func(t *testing.T) { test(t, blob.Config{Dir: t.TempDir(), Bucket: "mem://"}) })
	t.Run("file", func(t *testing.T) {
		test(t, blob.Config{Dir: t.TempDir(), Bucket: "file://" + filepath.ToSlash(t.TempDir()) + "?no_tmp_dir=true"})
	})
	for name, bucket := range clouds {
		t.Run(name, func(t *testing.T) { test(t, blob.Config{Dir: t.TempDir(), Bucket: bucket(t)}) })
	}
}

var (
	up  = blob.Upload{Hub: "h1", ID: "u1"}
	ref = blob.Ref{Hub: "h1", Container: "uploads", Name: "d/logs/a b.txt"}
)

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func get(t *testing.T, s *blob.Store, of blob.Ref) []byte {
	t.Helper()
	r, err := s.Read(t.Context(), of, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func stage(t *testing.T, s *blob.Store, u blob.Upload, id string, b []byte) {
	t.Helper()
	if err := s.Stage(t.Context(), u, id, int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
}

func TestBlobThroughItsLife(t *testing.T) {
	each(t, func(t *testing.T, cfg blob.Config) {
		s := open(t, cfg)
		if _, err := s.Stat(t.Context(), ref); fault.KindOf(err) != fault.NotFound {
			t.Errorf("before there is one: %v", err)
		}
		p := blob.Properties{ContentType: "text/x", CacheControl: "no-store", Metadata: map[string]string{"line": "3"}}
		first := content(300_000)
		made, err := s.Put(t.Context(), up, ref, p, int64(len(first)), bytes.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Stat(t.Context(), ref)
		if err != nil || !reflect.DeepEqual(info, made) || info.Size != 300_000 || info.ETag == "" || info.Modified.IsZero() ||
			info.ContentType != "text/x" || info.CacheControl != "no-store" || info.Metadata["line"] != "3" {
			t.Errorf("stat: %+v, %v\nput: %+v", info, err, made)
		}
		if !bytes.Equal(get(t, s, ref), first) || !s.Finished(up) {
			t.Error("the content is another one, or the upload is not finished")
		}
		r, err := s.Read(t.Context(), ref, 1000, 7)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, first[1000:1007]) || r.Close() != nil {
			t.Errorf("a range: %v, %v", b, err)
		}
		// A writer that fails leaves the old one.
		broken := errors.New("broken")
		_, err = s.Put(t.Context(), up, ref, blob.Properties{}, 500_000, io.MultiReader(bytes.NewReader(content(400_000)), iotest.ErrReader(broken)))
		if fault.KindOf(err) != fault.Invalid || !errors.Is(err, broken) {
			t.Errorf("a reader that fails: %v", err)
		}
		if _, err := s.Put(t.Context(), up, ref, blob.Properties{}, 500_000, bytes.NewReader(content(400_000))); fault.KindOf(err) != fault.Invalid {
			t.Errorf("content that ends early: %v", err)
		}
		if !bytes.Equal(get(t, s, ref), first) {
			t.Error("a writer that failed changed the blob")
		}
		if _, err := s.Put(t.Context(), blob.Upload{}, ref, blob.Properties{}, 5, strings.NewReader("after")); err != nil {
			t.Fatal(err)
		}
		again, err := s.Stat(t.Context(), ref)
		if err != nil || again.Size != 5 || again.ETag == info.ETag || again.CacheControl != "" || len(again.Metadata) != 0 || string(get(t, s, ref)) != "after" {
			t.Errorf("written anew: %+v, %v", again, err)
		}
		other := ref
		other.Hub = "h2"
		if _, err := s.Stat(t.Context(), other); fault.KindOf(err) != fault.NotFound {
			t.Errorf("another hub has it too: %v", err)
		}
		if err := s.Delete(t.Context(), ref); err != nil {
			t.Error(err)
		}
		if err := s.Delete(t.Context(), ref); fault.KindOf(err) != fault.NotFound {
			t.Errorf("deleted twice: %v", err)
		}
		if _, err := s.Read(t.Context(), ref, 0, -1); fault.KindOf(err) != fault.NotFound {
			t.Errorf("read after it was deleted: %v", err)
		}
	})
}

func TestBlocks(t *testing.T) {
	each(t, func(t *testing.T, cfg blob.Config) {
		s := open(t, cfg)
		whole := content(1_000_000)
		stage(t, s, up, "c", whole[900_000:])
		stage(t, s, up, "a", []byte("overtaken"))
		stage(t, s, up, "b", whole[400_000:900_000])
		stage(t, s, up, "a", whole[:400_000])
		stage(t, s, up, "unused", []byte("x"))
		want := []blob.Block{{ID: "a", Size: 400_000}, {ID: "b", Size: 500_000}, {ID: "c", Size: 100_000}, {ID: "unused", Size: 1}}
		if list, err := s.Staged(up); err != nil || !reflect.DeepEqual(list, want) {
			t.Errorf("what waits: %v, %v", list, err)
		}
		if list, err := s.Staged(blob.Upload{Hub: "h1", ID: "u2"}); err != nil || len(list) != 0 {
			t.Errorf("what waits for another: %v, %v", list, err)
		}
		if _, err := s.Commit(t.Context(), up, ref, blob.Properties{}, []string{"a", "never", "c"}); fault.KindOf(err) != fault.NotFound || s.Finished(up) {
			t.Errorf("with a block that was not sent: %v", err)
		}
		info, err := s.Commit(t.Context(), up, ref, blob.Properties{ContentType: "x/y"}, []string{"a", "b", "c"})
		if err != nil || info.Size != 1_000_000 || info.ContentType != "x/y" || !bytes.Equal(get(t, s, ref), whole) || !s.Finished(up) {
			t.Errorf("made %+v, %v", info, err)
		}
		if list, err := s.Staged(up); err != nil || len(list) != 0 || s.Staging() != 0 {
			t.Errorf("still waiting: %v, %v, %d bytes", list, err, s.Staging())
		}
		// An answer that was lost is asked for again.
		if again, err := s.Commit(t.Context(), up, ref, blob.Properties{ContentType: "x/y"}, []string{"a", "b", "c"}); err != nil || !reflect.DeepEqual(again, info) {
			t.Errorf("the same list again: %+v, %v", again, err)
		}
		if _, err := s.Commit(t.Context(), up, ref, blob.Properties{}, []string{"a", "c"}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("another list: %v", err)
		}
		empty := ref
		empty.Name = "d/empty"
		if info, err := s.Commit(t.Context(), up, empty, blob.Properties{}, nil); err != nil || info.Size != 0 {
			t.Errorf("of no blocks: %+v, %v", info, err)
		}
		if err := s.Forget(up); err != nil || s.Finished(up) || len(s.Waiting()) != 0 {
			t.Errorf("forgotten: %v, %v", err, s.Waiting())
		}
	})
}

// A process that ends at any moment loses no block it acknowledged, and the next one counts what is there.
func TestBlocksSurviveARestart(t *testing.T) {
	cfg := blob.Config{Dir: t.TempDir()}
	s := open(t, cfg)
	stage(t, s, up, "a", content(10_000))
	stage(t, s, up, "b", content(20_000))
	if err := os.WriteFile(filepath.Join(cfg.Dir, "tmp", "left"), content(5), 0o600); err != nil {
		t.Fatal(err)
	}
	next := open(t, cfg)
	if next.Staging() != s.Staging() || s.Staging() < 30_000 || !reflect.DeepEqual(next.Waiting(), []blob.Upload{up}) {
		t.Errorf("the next finds %d bytes of %d, for %v", next.Staging(), s.Staging(), next.Waiting())
	}
	if info, err := next.Commit(t.Context(), up, ref, blob.Properties{}, []string{"b", "a"}); err != nil || info.Size != 30_000 {
		t.Errorf("made %+v, %v", info, err)
	}
	if list, err := os.ReadDir(filepath.Join(cfg.Dir, "tmp")); err != nil || len(list) != 0 {
		t.Errorf("left in tmp: %v, %v", list, err)
	}
}

// A block that is not as it came, after the machine lost power, say, is one that was not sent.
func TestHarmedBlocks(t *testing.T) {
	for name, harm := range map[string]func([]byte) []byte{
		"cut":           func(b []byte) []byte { return b[:len(b)/2] },
		"nothing left":  func([]byte) []byte { return nil },
		"zeros":         func(b []byte) []byte { return make([]byte, len(b)) },
		"one bit":       func(b []byte) []byte { b[77] ^= 4; return b },
		"another's end": func(b []byte) []byte { return append(b[:100:100], b[len(b)-28:]...) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := blob.Config{Dir: t.TempDir()}
			s := open(t, cfg)
			stage(t, s, up, "a", content(10_000))
			file := filepath.Join(cfg.Dir, "staged", "h1", "u1", "61")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, harm(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Commit(t.Context(), up, ref, blob.Properties{}, []string{"a"}); fault.KindOf(err) != fault.NotFound {
				t.Errorf("it was taken: %v", err)
			}
			if _, err := s.Stat(t.Context(), ref); fault.KindOf(err) != fault.NotFound {
				t.Errorf("there is a blob: %v", err)
			}
			stage(t, s, up, "a", content(10_000))
			if _, err := s.Commit(t.Context(), up, ref, blob.Properties{}, []string{"a"}); err != nil || !bytes.Equal(get(t, s, ref), content(10_000)) {
				t.Errorf("sent again: %v", err)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	s := open(t, blob.Config{MaxBlob: 10_000, MaxBlocks: 3, MaxStaged: 30_000})
	put := func(u blob.Upload, id string, n int) fault.Kind {
		err := s.Stage(t.Context(), u, id, int64(n), bytes.NewReader(content(n)))
		if err == nil {
			return 255
		}
		return fault.KindOf(err)
	}
	if _, err := s.Put(t.Context(), up, ref, blob.Properties{}, 10_001, bytes.NewReader(content(10_001))); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("a blob that is too large: %v", err)
	}
	for i, c := range []struct {
		upload, id string
		size       int
		want       fault.Kind
	}{
		{"u1", "a", 6000, 255},
		{"u1", "b", 6000, 255},
		{"u1", "c", 12_000, fault.TooLarge},
		{"u1", "", 5, fault.Invalid},
		{"u1", "c", 0, fault.Invalid},
		{"u1", strings.Repeat("c", 65), 5, fault.Invalid},
		{"u1", "c", 100, 255},
		{"u1", "d", 100, fault.TooLarge}, // the fourth
		{"u2", "a", 9000, 255},
		{"u3", "a", 9000, fault.Exhausted},
	} {
		if got := put(blob.Upload{Hub: "h1", ID: c.upload}, c.id, c.size); got != c.want {
			t.Errorf("%d: %s of %s, %d bytes: %v", i, c.id, c.upload, c.size, got)
		}
	}
	if _, err := s.Commit(t.Context(), up, ref, blob.Properties{}, []string{"a", "b"}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("together too large: %v", err)
	}
	if err := s.Forget(up); err != nil {
		t.Fatal(err)
	}
	if got := put(blob.Upload{Hub: "h1", ID: "u3"}, "a", 9000); got != 255 {
		t.Errorf("after another was forgotten: %v", got)
	}
	if runtime.GOOS != "linux" {
		return // others do not say how much is free
	}
	s = open(t, blob.Config{Reserve: 1 << 62})
	_, err := s.Put(t.Context(), up, ref, blob.Properties{}, 1, strings.NewReader("x"))
	serr := s.Stage(t.Context(), up, "a", 1, strings.NewReader("x"))
	if fault.KindOf(err) != fault.Exhausted || fault.KindOf(serr) != fault.Exhausted || !strings.Contains(fault.Message(err), "reserve") || fault.Next(err) == "" || s.Staging() != 0 {
		t.Errorf("with a disk that is full: %v, %v; %d bytes wait", err, serr, s.Staging())
	}
}

func TestAFileAndAFolderOfOneName(t *testing.T) {
	s := open(t, blob.Config{})
	put := func(name string) error {
		_, err := s.Put(t.Context(), blob.Upload{}, blob.Ref{Hub: "h1", Container: "c", Name: name}, blob.Properties{ContentType: "t/t"}, 1, strings.NewReader("x"))
		return err
	}
	if err := put("d/a/b/c"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d/a", "d/a/b/c/d"} {
		if err := put(name); fault.KindOf(err) != fault.Conflict || fault.Next(err) == "" {
			t.Errorf("%s beside d/a/b/c: %v", name, err)
		}
	}
	if err := s.Delete(t.Context(), blob.Ref{Hub: "h1", Container: "c", Name: "d/a"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a folder is deleted: %v", err)
	}
	if err := s.Delete(t.Context(), blob.Ref{Hub: "h1", Container: "c", Name: "d/a/b/c"}); err != nil {
		t.Error(err)
	}
	if err := put("d/a"); err != nil { // its folder went with the last blob in it
		t.Errorf("after that: %v", err)
	}
}

// Uploads come, go on and are given up at the same time; what is counted in the end is what is there.
func TestManyAtOnce(t *testing.T) {
	cfg := blob.Config{Dir: t.TempDir()}
	s := open(t, cfg)
	var all sync.WaitGroup
	for i := range 8 {
		u := blob.Upload{Hub: "h1", ID: fmt.Sprint("u", i)}
		for j := range 4 {
			all.Go(func() {
				for k := range 5 {
					err := s.Stage(t.Context(), u, fmt.Sprint(k), 5000, bytes.NewReader(content(5000)))
					if err != nil && fault.KindOf(err) != fault.Expired {
						t.Error(err)
					}
				}
				switch {
				case j != 0:
				case i%2 == 0:
					if err := s.Forget(u); err != nil {
						t.Error(err)
					}
				default:
					to := blob.Ref{Hub: "h1", Container: "c", Name: "d/" + u.ID}
					if info, err := s.Commit(t.Context(), u, to, blob.Properties{}, []string{"0", "1", "2", "3", "4"}); err != nil || info.Size != 25_000 {
						t.Error(info, err)
					}
				}
			})
		}
	}
	all.Wait()
	if next := open(t, cfg); next.Staging() != s.Staging() {
		t.Errorf("%d bytes are counted, %d are there", s.Staging(), next.Staging())
	}
	for _, u := range s.Waiting() {
		if err := s.Forget(u); err != nil {
			t.Error(err)
		}
	}
	if s.Staging() != 0 {
		t.Errorf("%d bytes stay counted", s.Staging())
	}
}

func TestNothingLeadsOutside(t *testing.T) {
	outside := t.TempDir()
	cfg := blob.Config{Dir: t.TempDir()}
	s := open(t, cfg)
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "blobs", "h1", "c"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(cfg.Dir, "blobs", "h1", "c", "link")); err != nil {
		t.Fatal(err)
	}
	put := func(name string) error {
		_, err := s.Put(t.Context(), blob.Upload{}, blob.Ref{Hub: "h1", Container: "c", Name: name}, blob.Properties{ContentType: "a/b"}, 1, strings.NewReader("x"))
		return err
	}
	if err := put("link/x"); err == nil {
		t.Error("it went through a link")
	}
	// These are names of device ids and of what passed no check.
	for _, name := range []string{"../x", "../../../x", "..", "d/../../../../x", "/etc/x", `..\..\x`, "%2e%2e/x", "d//x", "./x", "C:/x", "d/\x00x"} {
		_ = put(name) // wherever it lands, it is not outside
	}
	mem := open(t, blob.Config{Dir: t.TempDir(), Bucket: "mem://"})
	theirs := blob.Ref{Hub: "h2", Container: "c", Name: "d/x"}
	if _, err := mem.Put(t.Context(), blob.Upload{}, theirs, blob.Properties{}, 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../h2/c/d/x", "d/../../../h2/c/d/x", "./../../h2/c/d/x"} {
		mine := blob.Ref{Hub: "h1", Container: "c", Name: name}
		_, statted := mem.Stat(t.Context(), mine)
		_, opened := mem.Read(t.Context(), mine, 0, -1)
		_, written := mem.Put(t.Context(), blob.Upload{}, mine, blob.Properties{}, 1, strings.NewReader("y"))
		_, committed := mem.Commit(t.Context(), blob.Upload{Hub: "h1", ID: "u"}, mine, blob.Properties{}, nil)
		for what, err := range map[string]error{"stat": statted, "read": opened, "put": written, "commit": committed, "delete": mem.Delete(t.Context(), mine)} {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s of %s: %v", what, name, err)
			}
		}
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
		t.Errorf("outside: %v, %v", list, err)
	}
	for _, dir := range []string{filepath.Dir(cfg.Dir), cfg.Dir, filepath.Join(cfg.Dir, "blobs"), filepath.Join(cfg.Dir, "blobs", "h1")} {
		if list, err := fs.Glob(os.DirFS(dir), "x*"); err != nil || len(list) != 0 {
			t.Errorf("%s holds %v, %v", dir, list, err)
		}
	}
	if err := filepath.WalkDir(cfg.Dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		if fi, err := e.Info(); err != nil || fi.Mode().Perm()&0o077 != 0 && p != cfg.Dir {
			t.Errorf("%s: %v, %v", p, fi.Mode(), err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestBucketsThatCannotBeUsed(t *testing.T) {
	for bucket, want := range map[string]fault.Kind{
		"ftp://x": fault.Invalid, "://": fault.Invalid, "file:///nowhere/at/all?secret=hunter2": fault.Invalid,
	} {
		_, err := blob.Open(t.Context(), blob.Config{Dir: t.TempDir(), Bucket: bucket}, slog.New(slog.DiscardHandler))
		if fault.KindOf(err) != want || strings.Contains(fault.Message(err), "hunter2") {
			t.Errorf("%s: %v", bucket, err)
		}
	}
	if _, err := blob.Open(t.Context(), blob.Config{}, slog.New(slog.DiscardHandler)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no folder: %v", err)
	}
}
