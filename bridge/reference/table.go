package reference

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/bridge/azureblob"
	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	defaultRefresh = time.Minute
	soon           = 5 * time.Second // until a table was read for the first time
	readTime       = 5 * time.Minute
)

// Args is what a table is made of.
type Args struct {
	Table   resource.ReferenceTable
	Folder  string // of tables that are files
	End     func(endpoint, secret string) (*end.End, error)
	Log     *slog.Logger // nil: none
	Clock   clock.Clock  // nil: the machine's
	Changed func()       // is called when other rows were read; may be nil
}

// Table is the rows read last.
type Table struct {
	Args
	blob *azureblob.Container
	done sync.WaitGroup
	stop context.CancelFunc

	now atomic.Pointer[rows] // nil: never read
	sum [sha256.Size]byte    // of what now was made of
	mu  sync.Mutex           // guards why
	why string
}

// Open reads the table and goes on to read it, until ctx ends or Close. That it cannot be read is no error; Invalid is what cannot get better.
func Open(ctx context.Context, args Args) (*Table, error) {
	t := &Table{Args: args}
	if t.Clock == nil {
		t.Clock = clock.System{}
	}
	if t.Log == nil {
		t.Log = slog.New(slog.DiscardHandler)
	}
	name := t.Table.File
	if b := t.Table.Blob; b != nil {
		e, err := t.End(b.Endpoint, b.Secret)
		if err != nil {
			return nil, err
		}
		if t.blob, err = azureblob.Open(e, b.Container); err != nil {
			return nil, err
		}
		name = b.Name
	}
	if t.Table.Format == "" {
		t.Table.Format = resource.FormatJSON
		if strings.HasSuffix(strings.ToLower(name), ".csv") {
			t.Table.Format = resource.FormatCSV
		}
	}
	if t.blob == nil { // a blob may take its time
		t.refresh(ctx)
	}
	ctx, t.stop = context.WithCancel(ctx)
	t.done.Go(func() { t.run(ctx) })
	return t, nil
}

func (t *Table) run(ctx context.Context) {
	wait := time.Duration(t.Table.RefreshSeconds) * time.Second
	if wait == 0 {
		wait = defaultRefresh
	}
	if t.blob != nil {
		t.refresh(ctx)
	}
	for {
		pause := wait
		if t.now.Load() == nil {
			pause = min(soon, wait)
		}
		fired, stop := t.Clock.After(pause)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-fired:
			t.refresh(ctx)
		}
	}
}

// refresh reads the table once.
func (t *Table) refresh(ctx context.Context) {
	content, err := t.read(ctx)
	var fresh rows
	changed := false
	if err == nil {
		sum := sha256.Sum256(content)
		if t.now.Load() == nil || sum != t.sum {
			if fresh, err = parse(content, t.Table.Format, t.Table.Key); err == nil {
				t.sum, changed = sum, true
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	why := ""
	if err != nil {
		why = fault.Message(err)
	}
	t.mu.Lock()
	before := t.why
	t.why = why
	t.mu.Unlock()
	if why != "" && why != before {
		t.Log.Warn("a reference table cannot be read", "table", t.Table.Name, "read before", t.now.Load() != nil, "error", err)
	}
	if changed {
		t.now.Store(&fresh)
		t.Log.Info("a reference table was read", "table", t.Table.Name, "rows", len(fresh))
		if t.Changed != nil {
			t.Changed()
		}
	}
}

func (t *Table) read(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var in io.ReadCloser
	unchanged := func() bool { return true }
	if t.blob != nil {
		r, err := t.blob.Read(ctx, t.Table.Blob.Name)
		if err != nil {
			return nil, err
		}
		in = r
	} else {
		f, err := os.OpenInRoot(t.Folder, t.Table.File) // links do not lead out of it
		if err != nil {
			return nil, fileWords(t.Table.File, err)
		}
		before, err := f.Stat()
		if err != nil {
			return nil, errors.Join(fileWords(t.Table.File, err), f.Close())
		}
		unchanged = func() bool {
			after, err := f.Stat()
			return err == nil && after.Size() == before.Size() && after.ModTime().Equal(before.ModTime())
		}
		in = f
	}
	defer in.Close()
	content, err := io.ReadAll(io.LimitReader(in, maxBytes+1))
	switch {
	case err != nil:
		return nil, fault.New("reference.read", fault.Unavailable, "it could not be read to its end").Because(err)
	case len(content) > maxBytes:
		return nil, fault.Newf("reference.read", fault.TooLarge, "it is larger than %d MiB", maxBytes>>20)
	case !unchanged():
		return nil, fault.New("reference.read", fault.Unavailable, "it is being written").Advise("put it there whole: under another name first, then renamed")
	}
	return content, nil
}

func fileWords(name string, err error) error {
	f := fault.Newf("reference.read", fault.Unavailable, "the file %s cannot be read", name).Because(err)
	if errors.Is(err, os.ErrNotExist) {
		f = fault.Newf("reference.read", fault.NotFound, "there is no file %s in the folder references", name).Because(err)
	}
	return f.Advise("put it there whole: under another name first, then renamed")
}

// Row returns the row of a key, which must not be changed; nil when there is none. Unavailable: the table was never read.
func (t *Table) Row(key column.Value) (map[string]any, error) {
	now := t.now.Load()
	if now == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		words := "it was not read yet"
		if t.why != "" {
			words = t.why
		}
		return nil, fault.Newf("reference.Row", fault.Unavailable, "the table %s: %s", t.Table.Name, words).Advise("see to it that it can be read: events wait for it")
	}
	if key.Kind == column.Null {
		return nil, nil
	}
	if key.Kind == column.Text {
		return (*now)[key.Text], nil
	}
	return (*now)[string(key.AppendText(nil))], nil
}

// Problem says why the table could not be read the last time; empty when it could.
func (t *Table) Problem() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why == "" {
		return ""
	}
	if t.now.Load() != nil {
		return "the table " + t.Table.Name + ": " + t.why + "; the rows read before hold"
	}
	return "the table " + t.Table.Name + ": " + t.why
}

// Close ends the reading.
func (t *Table) Close() {
	t.stop()
	t.done.Wait()
	if t.blob != nil {
		t.blob.Close()
	}
}
