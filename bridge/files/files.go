package files

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/window"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Defaults of resource.Files.
const (
	defaultEvents  = 100_000
	defaultBytes   = 64 << 20
	defaultSeconds = 60
)

// Files is a destination. Its lanes are used concurrently, each by one goroutine at a time.
type Files struct {
	bridge    string // 8 characters that stand for it
	spec      resource.Files
	clock     clock.Clock
	set       column.Set
	template  *template
	encoder   *encoder
	schema    *parquet.Schema
	extension string
	kind      string // content type
	dir       string
	sink      sink

	mu    sync.Mutex // guards the map
	lanes map[string]*state
}

type state struct {
	lane
	number int
	mu     sync.Mutex // guards what follows, and lane
	look   *column.Look
	row    []byte
}

// sink is where files go.
type sink interface {
	// put makes a file of what render writes, or puts it in the place of the one of its name. Nobody sees a part of it. size is about how
	// much render will write.
	put(ctx context.Context, name, contentType string, size int64, render func(io.Writer) error) error
	close() error
}

// New makes a destination of args.Destination.Blob or Disk. Invalid: its spec cannot be. It opens no connection yet.
func New(ctx context.Context, args bridge.DestinationArgs) (*Files, error) {
	d := &args.Destination
	f := &Files{bridge: short(args.Bridge), clock: args.Clock, lanes: map[string]*state{}, dir: filepath.Join(args.Dir, "files")}
	if f.clock == nil {
		f.clock = clock.System{}
	}
	switch {
	case d.Blob != nil:
		f.spec = d.Blob.Files
	case d.Disk != nil:
		f.spec = d.Disk.Files
	default:
		return nil, fault.New("files.New", fault.Invalid, "the destination is neither blob nor disk")
	}
	if err := f.compile(&args); err != nil {
		return nil, err
	}
	if err := clean(f.dir); err != nil {
		return nil, localWords("files.New", err)
	}
	var err error
	if d.Disk != nil {
		f.sink, err = openDisk(d.Disk.Folder, args.Folders, f.bridge)
	} else {
		f.sink, err = openStore(ctx, d.Blob, args.End, f.dir)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (f *Files) compile(args *bridge.DestinationArgs) (err error) {
	if f.spec.MaxEvents == 0 {
		f.spec.MaxEvents = defaultEvents
	}
	if f.spec.MaxBytes == 0 {
		f.spec.MaxBytes = defaultBytes
	}
	if f.spec.MaxSeconds == 0 {
		f.spec.MaxSeconds = defaultSeconds
	}
	if f.encoder, err = newEncoder(args.Bridge, &f.spec, args.Columns, &f.set); err != nil {
		return err
	}
	columns := f.spec.Columns
	if len(columns) == 0 {
		columns = args.Columns
	}
	if f.template, err = parseTemplate(f.spec.Path, columns, &f.set); err != nil {
		return err
	}
	f.extension, f.kind = string(f.encoder.format), "application/x-ndjson"
	switch f.encoder.format {
	case resource.FormatParquet:
		f.kind, f.schema = "application/vnd.apache.parquet", schema(f.encoder.columns)
		return nil
	case resource.FormatCSV:
		f.kind = "text/csv; charset=utf-8"
	case resource.FormatRaw:
		f.extension, f.kind = "txt", "application/octet-stream"
	}
	if f.spec.Compress {
		f.extension, f.kind = f.extension+".gz", "application/gzip"
	}
	return nil
}

func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

func (f *Files) lane(name string) *state {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.lanes[name]
	if s == nil {
		s = &state{lane: lane{dir: f.dir, name: name, open: map[key]*pending{}}, number: len(f.lanes), look: f.set.Look()}
		f.lanes[name] = s
	}
	return s
}

// Write takes a batch in. *event.Refused says which events cannot become rows; the others are in. After any other error none is.
func (f *Files) Write(_ context.Context, name string, batch []*event.Event) error {
	s := f.lane(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := map[int]error{}
	type put struct {
		e        *event.Event
		at       key
		from, to int
	}
	puts := make([]put, 0, len(batch))
	s.row = s.row[:0]
	for i, e := range batch {
		s.look.At(e)
		at, err := f.place(e, s.look)
		if err != nil {
			refused[i] = err
			continue
		}
		from := len(s.row)
		if s.row, err = f.encoder.append(s.row, e, s.look); err != nil {
			refused[i] = err
			continue
		}
		puts = append(puts, put{e, at, from, len(s.row)})
	}
	if s.memory > 0 && s.memory+len(s.row) > maxMemory {
		if err := s.spill(s.number); err != nil {
			return localWords("files.Write", err)
		}
	}
	if len(s.order) == 0 {
		s.began = f.clock.Now()
	}
	for _, p := range puts {
		to := s.open[p.at]
		if to == nil {
			to = &pending{path: p.at.path, name: f.name(name, p.at, p.e)}
			s.open[p.at] = to
			s.order = append(s.order, to)
		}
		to.tail = append(to.tail, s.row[p.from:p.to]...)
		to.rows++
		to.bytes += int64(p.to - p.from)
		to.written = false
	}
	s.memory += len(s.row)
	s.bytes += int64(len(s.row))
	if cap(s.row) > maxMemory {
		s.row = nil
	}
	if len(refused) > 0 {
		return &event.Refused{At: refused}
	}
	return nil
}

// place says which file an event goes to.
func (f *Files) place(e *event.Event, look *column.Look) (key, error) {
	at, end := e.Origin.Enqueued.UTC(), ""
	if kind, start, until, ok := rowOf(e.Origin.Name); ok {
		at = start
		if kind == window.WindowName {
			end = until
		}
	}
	path, err := f.template.path(e, at, look)
	if err != nil {
		return key{}, fault.Newf("files.Write", fault.Invalid, "path: %s", words(err)).Because(err)
	}
	return key{path, end}, nil
}

// rowOf takes the name of a window's row apart.
func rowOf(name string) (kind string, start time.Time, end string, ok bool) {
	p := strings.Split(name, "/")
	if len(p) != 4 || p[0] != window.WindowName && p[0] != window.SessionName {
		return "", time.Time{}, "", false
	}
	seconds, err := strconv.ParseFloat(p[1], 64)
	if err != nil {
		return "", time.Time{}, "", false
	}
	return p[0], time.UnixMicro(int64(seconds * 1e6)).UTC(), p[2], true
}

// name is what a file is called that begins with an event. It depends on that event and the path alone.
func (f *Files) name(lane string, at key, e *event.Event) string {
	o := &e.Origin
	b := append([]byte(f.bridge), '-')
	switch {
	case o.Name != "":
		sum := sha256.Sum256([]byte(at.path + "\x00" + o.Name)) // the path, for file systems that do not tell a from A
		b = append(o.Enqueued.UTC().AppendFormat(b, "20060102T150405Z"), '-')
		b = hex.AppendEncode(b, sum[:8])
	default:
		if b = appendEscaped(b, lane); lane != o.Partition {
			b = appendEscaped(append(b, '-'), o.Partition)
		}
		b = fmt.Appendf(append(b, '-'), "%012d", o.Sequence)
		if o.Index > 0 {
			b = strconv.AppendInt(append(b, '-'), int64(o.Index), 10)
		}
	}
	return at.path + "/" + string(b) + "." + f.extension
}

// Due tells when the lane should be flushed: when its first row is old enough, or at once when a file is large enough or there are many.
func (f *Files) Due(name string) (at time.Time, pending bool) {
	s := f.lane(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 {
		return time.Time{}, false
	}
	full := len(s.order) >= maxOpen || s.bytes >= 4*f.spec.MaxBytes
	for _, p := range s.order {
		full = full || p.rows >= f.spec.MaxEvents || p.bytes >= f.spec.MaxBytes
	}
	if full {
		return s.began, true
	}
	return s.began.Add(time.Duration(f.spec.MaxSeconds) * time.Second), true
}

// Flush writes all files of the lane. After an error those that are not written are tried again by the next.
func (f *Files) Flush(ctx context.Context, name string) error {
	s := f.lane(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.order {
		if p.written {
			continue
		}
		if err := f.sink.put(ctx, p.name, f.kind, p.bytes, func(w io.Writer) error { return f.render(w, s, p) }); err != nil {
			return err
		}
		p.written = true
	}
	s.reset()
	return nil
}

// render writes the content of a file.
func (f *Files) render(w io.Writer, s *state, p *pending) error {
	if f.schema != nil {
		return writeParquet(w, f.schema, f.encoder.columns, s.rows(p))
	}
	var zip *gzip.Writer
	if f.spec.Compress {
		zip = gzip.NewWriter(w) // without a time, so that the same rows are the same bytes
		w = zip
	}
	if _, err := w.Write(f.encoder.header()); err != nil {
		return err
	}
	if _, err := io.Copy(w, s.rows(p)); err != nil {
		return err
	}
	if zip != nil {
		return zip.Close()
	}
	return nil
}

// Drop forgets what the lane holds.
func (f *Files) Drop(name string) {
	s := f.lane(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset()
	s.close()
}

// Close forgets what all lanes hold.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.lanes {
		s.mu.Lock()
		s.reset()
		s.close()
		s.mu.Unlock()
	}
	return f.sink.close()
}
