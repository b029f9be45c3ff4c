package files

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ bridge.Buffered = (*Files)(nil)

var noon = time.Date(2026, 1, 31, 12, 5, 0, 0, time.UTC)

func onDisk(f resource.Files, folder, dir string) bridge.DestinationArgs {
	return bridge.DestinationArgs{
		Bridge: "b1", Name: "ot/ot-cloud/b", Folders: []string{folder}, Dir: dir,
		Destination: resource.BridgeDestination{Disk: &resource.DiskDestination{Folder: filepath.Join(folder, "lake"), Files: f}},
	}
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

func open(t fataler, args bridge.DestinationArgs) *Files {
	t.Helper()
	f, err := New(context.Background(), args)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func reading(partition string, sequence int64, body string) *event.Event {
	return &event.Event{
		Origin: event.Origin{Partition: partition, Sequence: sequence, Enqueued: noon.Add(time.Duration(sequence) * time.Second)}, Body: []byte(body),
		System: []event.Property{{Name: event.DeviceID, Value: "press-4"}},
	}
}

// contents reads what is in the lake, by name.
func contents(t fataler, folder string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	lake := filepath.Join(folder, "lake")
	err := filepath.WalkDir(lake, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(lake, p)
		if err == nil {
			out[filepath.ToSlash(rel)], err = os.ReadFile(p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func only(t *testing.T, files map[string][]byte) (string, []byte) {
	t.Helper()
	if len(files) != 1 {
		t.Fatalf("%d files: %v", len(files), slices.Sorted(maps.Keys(files)))
	}
	for name, content := range files {
		return name, content
	}
	return "", nil
}

// write brings a batch and flushes it.
func write(t *testing.T, f *Files, batch ...*event.Event) map[int]error {
	t.Helper()
	err := f.Write(t.Context(), "0", batch)
	refused, ok := errors.AsType[*event.Refused](err)
	if err != nil && !ok {
		t.Fatal(err)
	}
	if err := f.Flush(t.Context(), "0"); err != nil {
		t.Fatal(err)
	}
	if ok {
		return refused.At
	}
	return nil
}

var threeColumns = []resource.Column{
	{Name: "device", Value: "@device"}, {Name: "celsius", Type: resource.ColumnNumber}, {Name: "n", Type: resource.ColumnInteger},
	{Name: "at", Type: resource.ColumnTime}, {Name: "ok", Value: "this.good", Type: resource.ColumnBoolean},
}

func TestJSONLines(t *testing.T) {
	folder := t.TempDir()
	f := open(t, onDisk(resource.Files{Path: "telemetry/date={yyyy}-{MM}-{dd}/{HH}{mm}/{device}"}, folder, t.TempDir()))
	defer f.Close()
	batch := []*event.Event{
		reading("0", 7, `{"a": 1,`+"\n"+` "b":"x"}`), reading("0", 8, `{}`), reading("0", 9, `no json`), reading("0", 10, `[1, 2]`), reading("0", 11, ``),
		reading("0", 12, `{"isthmus_repeat":false,"z":1}`),
	}
	batch[1].Repeat = true
	if r := write(t, f, batch...); len(r) != 2 || r[2] == nil || r[4] == nil {
		t.Fatalf("refused: %v", r)
	}
	name, content := only(t, contents(t, folder))
	want := `{"a":1,"b":"x","isthmus_origin":"b1/0/7"}
{"isthmus_origin":"b1/0/8","isthmus_repeat":true}
{"value":[1,2],"isthmus_origin":"b1/0/10"}
{"z":1,"isthmus_origin":"b1/0/12"}
`
	if name != "telemetry/date=2026-01-31/1205/press-4/"+short("b1")+"-0-000000000007.json" || string(content) != want {
		t.Errorf("%s is\n%s", name, content)
	}
}

func TestColumnsInJSON(t *testing.T) {
	folder := t.TempDir()
	f := open(t, onDisk(resource.Files{Path: "x", Columns: threeColumns, Compress: true}, folder, t.TempDir()))
	defer f.Close()
	write(t, f, reading("0", 7, `{"celsius":"21.5","n":21.0,"at":1769860800,"good":"true","secret":1}`), reading("0", 8, `{}`))
	name, content := only(t, contents(t, folder))
	zip, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if content, err = io.ReadAll(zip); err != nil {
		t.Fatal(err)
	}
	want := `{"device":"press-4","celsius":21.5,"n":21,"at":"2026-01-31T12:00:00Z","ok":true,"isthmus_origin":"b1/0/7"}
{"device":"press-4","celsius":null,"n":null,"at":null,"ok":null,"isthmus_origin":"b1/0/8"}
`
	if !strings.HasSuffix(name, ".json.gz") || string(content) != want {
		t.Errorf("%s is\n%s", name, content)
	}
}

func TestCSV(t *testing.T) {
	folder := t.TempDir()
	f := open(t, onDisk(resource.Files{Path: "x", Format: resource.FormatCSV, Columns: append(threeColumns[:4:4], resource.Column{Name: "text"})}, folder, t.TempDir()))
	defer f.Close()
	r := write(t, f, reading("0", 7, `{"celsius":-0.25,"n":1,"text":"a \"quoted\", long\r\nline"}`), reading("0", 8, `{"n":1.5}`), reading("0", 9, `{"text":""}`))
	if len(r) != 1 || !strings.Contains(r[1].Error(), `column n: "1.5" is no integer`) {
		t.Fatalf("refused: %v", r)
	}
	_, content := only(t, contents(t, folder))
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"device", "celsius", "n", "at", "text", "isthmus_origin", "isthmus_repeat"},
		{"press-4", "-0.25", "1", "", "a \"quoted\", long\nline", "b1/0/7", "false"}, // the reader makes one of CR LF
		{"press-4", "", "", "", "", "b1/0/9", "false"},
	}
	if !slices.EqualFunc(rows, want, slices.Equal) || !bytes.Contains(content, []byte(",,\"\",b1/0/9,false\r\n")) {
		t.Errorf("%q", content)
	}
}

func TestRaw(t *testing.T) {
	folder := t.TempDir()
	f := open(t, onDisk(resource.Files{Path: "x", Format: resource.FormatRaw}, folder, t.TempDir()))
	defer f.Close()
	write(t, f, reading("0", 7, "a\xff"), reading("0", 8, ""))
	if name, content := only(t, contents(t, folder)); string(content) != "a\xff\n\n" || !strings.HasSuffix(name, ".txt") {
		t.Errorf("%s is %q", name, content)
	}
}

func TestParquet(t *testing.T) {
	folder := t.TempDir()
	f := open(t, onDisk(resource.Files{Path: "x", Format: resource.FormatParquet, Columns: threeColumns}, folder, t.TempDir()))
	defer f.Close()
	batch := []*event.Event{reading("0", 7, `{"celsius":21,"n":9007199254740993,"at":"2026-01-31T12:00:00.123456Z","good":true}`), reading("0", 8, `{"celsius":0.5}`)}
	batch[1].Repeat = true
	write(t, f, batch...)
	_, content := only(t, contents(t, folder))
	type row struct {
		Device  *string    `parquet:"device,optional"`
		Celsius *float64   `parquet:"celsius,optional"`
		N       *int64     `parquet:"n,optional"`
		At      *time.Time `parquet:"at,optional,timestamp(microsecond)"`
		OK      *bool      `parquet:"ok,optional"`
		Origin  *string    `parquet:"isthmus_origin,optional"`
		Repeat  *bool      `parquet:"isthmus_repeat,optional"`
	}
	rows, err := parquet.Read[row](bytes.NewReader(content), int64(len(content)))
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	a, b := rows[0], rows[1]
	if *a.Device != "press-4" || *a.Celsius != 21 || *a.N != 9007199254740993 || !a.At.Equal(time.Date(2026, 1, 31, 12, 0, 0, 123456000, time.UTC)) || !*a.OK || *a.Origin != "b1/0/7" || *a.Repeat {
		t.Errorf("%+v", a)
	}
	if *b.Celsius != 0.5 || b.N != nil || b.At != nil || b.OK != nil || !*b.Repeat {
		t.Errorf("%+v", b)
	}
	file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, field := range file.Schema().Fields() {
		names = append(names, field.Name())
	}
	if want := []string{"device", "celsius", "n", "at", "ok", originColumn, repeatColumn}; !slices.Equal(names, want) {
		t.Errorf("the columns are %v", names)
	}
}

func windowRow(kind string, start, end int64, group, body string) *event.Event {
	return &event.Event{Origin: event.Origin{Name: fmt.Sprintf("%s/%d/%d/%s", kind, start, end, group), Enqueued: time.Unix(end, 0).UTC()}, Body: []byte(body)}
}

// Rows of different windows are in different files, and bear no marks; those of sessions share one.
func TestRowsOfWindows(t *testing.T) {
	columns := []resource.Column{{Name: "windowStart", Type: resource.ColumnTime}, {Name: "machine"}, {Name: "n", Type: resource.ColumnInteger}}
	for _, kind := range []string{"window", "session"} {
		folder := t.TempDir()
		args := onDisk(resource.Files{Path: "{yyyy}/{machine}", Format: resource.FormatCSV}, folder, t.TempDir())
		args.Columns = columns
		f := open(t, args)
		body := `{"windowStart":"2026-01-01T00:00:00Z","machine":"a","n":1}`
		write(t, f, windowRow(kind, 1767225600, 1767225660, "aa", body), windowRow(kind, 1767225600, 1767225660, "ab", body), windowRow(kind, 1767225660, 1767225720, "aa", body))
		files := contents(t, folder)
		names := slices.Sorted(maps.Keys(files))
		want := map[string]int{"window": 2, "session": 1}[kind]
		if len(names) != want || !strings.HasPrefix(names[0], "2026/a/"+short("b1")+"-20260101T000100Z-") {
			t.Errorf("%s: %v", kind, names)
		}
		if want == 2 && string(files[names[0]]) != "windowStart,machine,n\r\n2026-01-01T00:00:00Z,a,1\r\n2026-01-01T00:00:00Z,a,1\r\n" {
			t.Errorf("%q", files[names[0]])
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever is flushed when, and however often a crash makes it all come again: each event stands in the files once, and none is missing.
func TestFilesAreWrittenAgain(t *testing.T) {
	folder, own := t.TempDir(), t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		kept := memory{}
		begin := func() *Files {
			f := open(t, onDisk(resource.Files{Path: "{device}/{mm}"}, folder, own))
			if err := f.sink.close(); err != nil {
				t.Fatal(err)
			}
			f.sink = kept
			return f
		}
		const n = 40
		var stream []*event.Event
		for i := range n {
			e := reading("0", int64(i), fmt.Sprintf(`{"i":%d}`, i))
			e.System[0].Value = rapid.SampledFrom([]string{"a", "b", "c", "../x"}).Draw(t, "device")
			stream = append(stream, e)
		}
		f := begin()
		next, done := 0, 0
		for done < n {
			switch rapid.IntRange(0, 5).Draw(t, "act") {
			case 0: // a crash, maybe in the middle of a flush
				if rapid.Bool().Draw(t, "flushing") {
					if err := f.Flush(context.Background(), "0"); err != nil {
						t.Fatal(err)
					}
				} else {
					f.sink = &breaks{kept, rapid.IntRange(0, 2).Draw(t, "after")}
					_ = f.Flush(context.Background(), "0")
				}
				f.Close()
				f, next = begin(), done
			case 1:
				if err := f.Flush(context.Background(), "0"); err != nil {
					t.Fatal(err)
				}
				done = next
			default:
				to := min(n, next+rapid.IntRange(1, 6).Draw(t, "batch"))
				if err := f.Write(context.Background(), "0", stream[next:to]); err != nil {
					t.Fatal(err)
				}
				next = to
			}
		}
		f.Close()
		seen := map[int]string{}
		for name, content := range kept {
			lines := bufio.NewScanner(bytes.NewReader(content))
			for lines.Scan() {
				var row struct{ I int }
				if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
					t.Fatal(err)
				}
				if seen[row.I] != "" {
					t.Fatalf("%d stands in %s and %s", row.I, seen[row.I], name)
				}
				seen[row.I] = name
			}
		}
		if len(seen) != n {
			t.Fatalf("%d of %d events are there", len(seen), n)
		}
	})
}

func TestDue(t *testing.T) {
	folder := t.TempDir()
	clk := clock.NewFake(noon)
	args := onDisk(resource.Files{Path: "x/{device}", MaxEvents: 5, MaxBytes: 2000, MaxSeconds: 30}, folder, t.TempDir())
	args.Clock = clk
	f := open(t, args)
	defer f.Close()
	if _, pending := f.Due("0"); pending {
		t.Error("an empty lane is due")
	}
	put := func(n int, body string) {
		for i := range n {
			if err := f.Write(t.Context(), "0", []*event.Event{reading("0", int64(i), body)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	due := func(want time.Time) {
		t.Helper()
		if at, pending := f.Due("0"); !pending || !at.Equal(want) {
			t.Errorf("due %v %v, not %v", at, pending, want)
		}
	}
	put(1, "{}")
	clk.Advance(10 * time.Second)
	put(3, "{}")
	due(noon.Add(30 * time.Second))
	put(1, "{}")
	due(noon) // five events
	f.Drop("0")
	if _, pending := f.Due("0"); pending {
		t.Error("a dropped lane is due")
	}
	put(1, `{"a":"`+strings.Repeat("x", 2000)+`"}`)
	due(clk.Now())
	if err := f.Flush(t.Context(), "0"); err != nil {
		t.Fatal(err)
	}
	if _, pending := f.Due("0"); pending {
		t.Error("a flushed lane is due")
	}
}

// What is more than the memory a lane has waits on the disk, in order.
func TestMuchWaitsOnTheDisk(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	f := open(t, onDisk(resource.Files{Path: "{device}", Format: resource.FormatRaw}, folder, dir))
	defer f.Close()
	var want [2]bytes.Buffer
	for i := range int64(12) {
		body := strings.Repeat(string(rune('a'+i)), 1<<20)
		e := reading("0", i, body)
		e.System[0].Value = fmt.Sprint(i % 2)
		want[i%2].WriteString(body + "\n")
		if err := f.Write(t.Context(), "0", []*event.Event{e}); err != nil {
			t.Fatal(err)
		}
		if m := f.lane("0").memory; m > maxMemory {
			t.Fatalf("%d bytes are in memory", m)
		}
	}
	if list, err := os.ReadDir(filepath.Join(dir, "files")); err != nil || len(list) != 1 {
		t.Fatalf("%d files wait: %v", len(list), err)
	}
	if err := f.Flush(t.Context(), "0"); err != nil {
		t.Fatal(err)
	}
	for name, content := range contents(t, folder) {
		if !bytes.Equal(content, want[name[0]-'0'].Bytes()) {
			t.Errorf("%s is not what was written", name)
		}
	}
}

func TestDestinationsThatCannotBe(t *testing.T) {
	folder := t.TempDir()
	other := t.TempDir()
	if err := os.Symlink(other, filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*bridge.DestinationArgs)
		want   fault.Kind
	}{
		"elsewhere":  {func(a *bridge.DestinationArgs) { a.Destination.Disk.Folder = other }, fault.Denied},
		"beside":     {func(a *bridge.DestinationArgs) { a.Destination.Disk.Folder = folder + "x" }, fault.Denied},
		"out":        {func(a *bridge.DestinationArgs) { a.Destination.Disk.Folder = folder + "/../x" }, fault.Denied},
		"a link":     {func(a *bridge.DestinationArgs) { a.Destination.Disk.Folder = folder + "/link" }, fault.Unavailable},
		"nothing":    {func(a *bridge.DestinationArgs) { a.Folders = nil }, fault.Denied},
		"no columns": {func(a *bridge.DestinationArgs) { a.Destination.Disk.Format = resource.FormatCSV }, fault.Invalid},
		"a brace":    {func(a *bridge.DestinationArgs) { a.Destination.Disk.Path = "{x" }, fault.Invalid},
		"no name":    {func(a *bridge.DestinationArgs) { a.Destination.Disk.Path = "{a b}" }, fault.Invalid},
		"dots":       {func(a *bridge.DestinationArgs) { a.Destination.Disk.Path = "a/../b" }, fault.Invalid},
		"a mark":     {func(a *bridge.DestinationArgs) { a.Destination.Disk.Columns = []resource.Column{{Name: originColumn}} }, fault.Invalid},
		"an expression": {func(a *bridge.DestinationArgs) {
			a.Destination.Disk.Columns = []resource.Column{{Name: "a", Value: "(("}}
		}, fault.Invalid},
		"no destination": {func(a *bridge.DestinationArgs) { a.Destination.Disk = nil }, fault.Invalid},
		"no endpoint": {func(a *bridge.DestinationArgs) {
			a.Destination.Blob, a.Destination.Disk = &resource.BlobDestination{Container: "c", Files: resource.Files{Path: "x"}}, nil
		}, fault.Invalid},
	} {
		args := onDisk(resource.Files{Path: "x"}, folder, t.TempDir())
		c.change(&args)
		if f, err := New(t.Context(), args); fault.KindOf(err) != c.want || err == nil {
			t.Errorf("%s: %v", name, err)
			if f != nil {
				f.Close()
			}
		}
	}
}

// A disk that does not take a file is waited for: the lane holds what it held.
func TestADiskThatFails(t *testing.T) {
	folder := t.TempDir()
	f := open(t, onDisk(resource.Files{Path: "{device}"}, folder, t.TempDir()))
	defer f.Close()
	batch := []*event.Event{reading("0", 1, "{}"), reading("0", 2, "{}"), reading("0", 3, "{}")}
	for i, e := range batch {
		e.System[0].Value = fmt.Sprint(i)
	}
	if err := f.Write(t.Context(), "0", batch); err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(folder, "lake", "1")
	if err := os.WriteFile(in, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(t.Context(), "0"); fault.KindOf(err) != fault.Conflict {
		t.Fatal(err)
	}
	if _, pending := f.Due("0"); !pending {
		t.Error("the lane holds nothing")
	}
	if err := os.Remove(in); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(t.Context(), "0"); err != nil {
		t.Fatal(err)
	}
	if files := contents(t, folder); len(files) != 3 {
		t.Errorf("%d files", len(files))
	}
}
