package storage

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

// making is the contents that are being written: garbage which is not to be swept.
type making struct {
	mu  sync.Mutex // guards the field below
	ids map[storagestore.Garbage]struct{}
}

func (m *making) begin(g storagestore.Garbage) (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids[g] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.ids, g)
	}
}

func (m *making) has(g storagestore.Garbage) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.ids[g]
	return ok
}

// write makes a content of whatever keep writes and then the blob's row. Until then it is noted as garbage, so that nothing of it is left
// when something comes between.
func (a *Account) write(ctx context.Context, op, incarnation string, b storagestore.Blob, cond Condition, keep func(blob.Ref) error, also func(tx *storagestore.Tx, content string) error) (Info, error) {
	b.Content = rand.Text()
	g := storagestore.Garbage{Account: a.id, Content: b.Content}
	defer a.server.making.begin(g)()
	if err := a.server.store.Together(ctx, func(tx *storagestore.Tx) error { return tx.Discard(a.id, b.Content, a.server.clock.Now()) }); err != nil {
		return Info{}, err
	}
	if err := keep(a.contentRef(b.Content)); err != nil {
		return Info{}, err
	}
	return a.put(ctx, op, incarnation, b, cond, also)
}

// Put makes or replaces a blob with content, which has size bytes. Blocks that wait for it are let go. Faults: NotFound, Precondition and
// Conflict by the condition, TooLarge, Exhausted, Invalid when content has another size.
func (a *Account) Put(ctx context.Context, to Ref, p Properties, cond Condition, size int64, content io.Reader) (Info, error) {
	op := "storage.Put"
	c, err := a.mayPut(ctx, op, to, p, cond, size)
	if err != nil {
		return Info{}, err
	}
	b := storagestore.Blob{Container: to.Container, Name: to.Name, Size: size, Properties: p}
	var out Info
	if size > Small {
		keep := func(at blob.Ref) error {
			_, err := a.server.contents.Put(ctx, blob.Upload{}, at, blob.Properties{}, size, content)
			return err
		}
		out, err = a.write(ctx, op, c.Incarnation, b, cond, keep, nil)
	} else {
		if b.Small, err = whole(content, size); err != nil {
			return Info{}, err
		}
		out, err = a.put(ctx, op, c.Incarnation, b, cond, nil)
	}
	if err == nil {
		a.letGo(a.upload(c, to.Name))
	}
	return out, err
}

// whole reads a small content.
func whole(r io.Reader, size int64) ([]byte, error) {
	out := make([]byte, size)
	if n, err := io.ReadFull(r, out); err != nil {
		if _, ok := errors.AsType[*fault.Error](err); ok {
			return nil, err
		}
		return nil, fault.Newf("storage.Put", fault.Invalid, "the content did not come whole: %d bytes are missing", size-int64(n)).Because(err)
	}
	return out, nil
}

// mayPut checks what can be checked before the content comes.
func (a *Account) mayPut(ctx context.Context, op string, to Ref, p Properties, cond Condition, size int64) (storagestore.Container, error) {
	if err := CheckBlobName(to.Name); err != nil {
		return storagestore.Container{}, err
	}
	if err := checkMetadata(p.Metadata); err != nil {
		return storagestore.Container{}, err
	}
	if err := a.room(op, size); err != nil {
		return storagestore.Container{}, err
	}
	c, err := a.container(ctx, op, to.Container)
	if err != nil {
		return c, err
	}
	if cond != (Condition{}) {
		_, err = a.before(a.server.store.Reading(ctx), op, c.Incarnation, to, cond)
	}
	return c, err
}

// upload is whose blocks wait for a blob.
func (a *Account) upload(c storagestore.Container, name string) blob.Upload {
	sum := sha256.Sum256([]byte(c.Incarnation + "\n" + name))
	return blob.Upload{Hub: a.id, ID: hex.EncodeToString(sum[:16])}
}

// Copy makes or replaces a blob with the content of another one of the account, and with its metadata unless there is other. source is the
// address it was named by, without a signature.
func (a *Account) Copy(ctx context.Context, to, from Ref, source string, metadata map[string]string, cond, fromCond Condition) (Info, error) {
	op := "storage.Copy"
	if _, err := a.mayPut(ctx, op, to, Properties{Metadata: metadata}, cond, 0); err != nil {
		return Info{}, err
	}
	var out Info
	var more, bytes int64
	err := a.server.store.Together(ctx, func(tx *storagestore.Tx) error {
		old, err := a.before(tx, op, "", to, cond)
		if err != nil {
			return err
		}
		b, err := a.row(tx, op, from)
		if err != nil {
			return err
		}
		now := a.server.clock.Now()
		if err := leaseForRead(op, b.Lease, fromCond.Lease, now); err != nil {
			return err
		}
		if err := fromCond.forSource(op, b.ETag, b.Modified); err != nil {
			return err
		}
		b.Container, b.Name, b.ETag, b.Created, b.Modified, b.Lease = to.Container, to.Name, newETag(), now, now, storagestore.Lease{}
		b.Properties.Copied = &storagestore.Copied{ID: rand.Text(), Source: source, At: now}
		if len(metadata) > 0 {
			b.Properties.Metadata = maps.Clone(metadata)
		}
		more, bytes = 1, b.Size
		if old.ETag != "" {
			b.Created, b.Lease = old.Created, old.Lease
			more, bytes = 0, b.Size-old.Size
		}
		if err := a.room(op, bytes); err != nil {
			return err
		}
		out = a.info(b)
		return tx.PutBlob(a.id, b, now)
	})
	if err == nil {
		a.blobs.Add(more)
		a.bytes.Add(bytes)
	}
	return out, err
}
