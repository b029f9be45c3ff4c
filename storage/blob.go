package storage

import (
	"bytes"
	"context"
	"io"
	"maps"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

// Properties are what a writer says about a blob's content.
type Properties = storagestore.Properties

// Info is what is known of a blob.
type Info struct {
	Properties
	Name     string
	ETag     string // not quoted
	Created  time.Time
	Modified time.Time
	Size     int64
	Lease    LeaseInfo
}

func (a *Account) info(b storagestore.Blob) Info {
	return Info{
		Properties: b.Properties, Name: b.Name, ETag: b.ETag, Created: b.Created, Modified: b.Modified, Size: b.Size,
		Lease: leaseInfo(b.Lease, a.server.clock.Now()),
	}
}

// Ref says which blob of an account.
type Ref struct{ Container, Name string }

// row returns the row of a blob. NotFound, and which of the two is not there.
func (a *Account) row(tx *storagestore.Tx, op string, of Ref) (storagestore.Blob, error) {
	if !wide(of.Container) || !wide(of.Name) {
		return storagestore.Blob{}, noBlob(op, of.Name)
	}
	b, ok, err := tx.Blob(a.id, of.Container, of.Name)
	if err == nil && !ok {
		if _, err = a.containerIn(tx, op, of.Container); err == nil {
			err = noBlob(op, of.Name)
		}
	}
	return b, err
}

// Stat tells about a blob.
func (a *Account) Stat(ctx context.Context, of Ref, cond Condition) (Info, error) {
	b, err := a.look(ctx, "storage.Stat", of, cond)
	return a.info(b), err
}

func (a *Account) look(ctx context.Context, op string, of Ref, cond Condition) (storagestore.Blob, error) {
	b, err := a.row(a.server.store.Reading(ctx), op, of)
	if err == nil {
		err = leaseForRead(op, b.Lease, cond.Lease, a.server.clock.Now())
	}
	if err == nil {
		err = cond.forRead(op, b.ETag, b.Modified)
	}
	return b, err
}

// Content is a blob that is being read: one moment of it, whoever writes it meanwhile.
type Content struct {
	Info
	account *Account
	small   []byte
	content string
}

// Open tells about a blob, and gives its content.
func (a *Account) Open(ctx context.Context, of Ref, cond Condition) (Content, error) {
	b, err := a.look(ctx, "storage.Open", of, cond)
	return Content{a.info(b), a, b.Small, b.Content}, err
}

// Read gives length bytes from offset on. Both have to be within the blob. The caller closes it.
func (c Content) Read(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if c.content == "" {
		return io.NopCloser(bytes.NewReader(c.small[offset : offset+length])), nil
	}
	return c.account.server.contents.Read(ctx, c.account.contentRef(c.content), offset, length)
}

// contentRef is where a content is.
func (a *Account) contentRef(id string) blob.Ref {
	return blob.Ref{Hub: a.id, Container: "contents", Name: id[:2] + "/" + id}
}

// change changes the row of a blob that is there.
func (a *Account) change(ctx context.Context, op string, of Ref, cond Condition, change func(*storagestore.Blob) error) (Info, error) {
	var out Info
	err := a.server.store.Together(ctx, func(tx *storagestore.Tx) error {
		b, err := a.row(tx, op, of)
		if err != nil {
			return err
		}
		now := a.server.clock.Now()
		if err := leaseForChange(op, b.Lease, cond.Lease, now); err != nil {
			return err
		}
		if err := cond.forChange(op, b.ETag, b.Modified, true); err != nil {
			return err
		}
		if err := change(&b); err != nil {
			return err
		}
		b.ETag, b.Modified = newETag(), now
		out = a.info(b)
		return tx.PutBlob(a.id, b, now)
	})
	return out, err
}

// SetMetadata replaces a blob's metadata.
func (a *Account) SetMetadata(ctx context.Context, of Ref, metadata map[string]string, cond Condition) (Info, error) {
	if err := checkMetadata(metadata); err != nil {
		return Info{}, err
	}
	return a.change(ctx, "storage.SetMetadata", of, cond, func(b *storagestore.Blob) error {
		b.Properties.Metadata = maps.Clone(metadata)
		return nil
	})
}

// SetProperties replaces what is said of a blob's content; its metadata stays.
func (a *Account) SetProperties(ctx context.Context, of Ref, p Properties, cond Condition) (Info, error) {
	return a.change(ctx, "storage.SetProperties", of, cond, func(b *storagestore.Blob) error {
		p.Metadata, p.Copied = b.Properties.Metadata, b.Properties.Copied
		b.Properties = p
		return nil
	})
}

// Delete removes a blob.
func (a *Account) Delete(ctx context.Context, of Ref, cond Condition) error {
	op := "storage.Delete"
	var size int64
	err := a.server.store.Together(ctx, func(tx *storagestore.Tx) error {
		b, err := a.row(tx, op, of)
		if err != nil {
			return err
		}
		now := a.server.clock.Now()
		if err := leaseForChange(op, b.Lease, cond.Lease, now); err != nil {
			return err
		}
		if err := cond.forChange(op, b.ETag, b.Modified, true); err != nil {
			return err
		}
		size = b.Size
		return tx.DeleteBlob(a.id, of.Container, of.Name, now)
	})
	if err == nil {
		a.blobs.Add(-1)
		a.bytes.Add(-size)
	}
	return err
}

// put makes or replaces a blob's row, if the condition still holds. b has everything but its etag and times.
func (a *Account) put(ctx context.Context, op, incarnation string, b storagestore.Blob, cond Condition, also func(tx *storagestore.Tx, content string) error) (Info, error) {
	of := Ref{b.Container, b.Name}
	var out Info
	var more, bytes int64
	err := a.server.store.Together(ctx, func(tx *storagestore.Tx) error {
		more, bytes = 1, b.Size
		old, err := a.before(tx, op, incarnation, of, cond)
		if err != nil {
			return err
		}
		now := a.server.clock.Now()
		b.ETag, b.Created, b.Modified, b.Lease = newETag(), now, now, storagestore.Lease{}
		if old.ETag != "" {
			b.Created, b.Lease = old.Created, old.Lease
			more, bytes = 0, b.Size-old.Size
		}
		if also != nil {
			if err := also(tx, b.Content); err != nil {
				return err
			}
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

// before is the blob that is to be replaced, empty when there is none, if it may be.
func (a *Account) before(tx *storagestore.Tx, op, incarnation string, of Ref, cond Condition) (storagestore.Blob, error) {
	c, err := a.containerIn(tx, op, of.Container)
	if err != nil {
		return storagestore.Blob{}, err
	}
	if incarnation != "" && c.Incarnation != incarnation {
		return storagestore.Blob{}, noContainer(op, of.Container)
	}
	old, ok, err := tx.Blob(a.id, of.Container, of.Name)
	if err != nil {
		return old, err
	}
	if err := leaseForChange(op, old.Lease, cond.Lease, a.server.clock.Now()); err != nil {
		return old, err
	}
	return old, cond.forChange(op, old.ETag, old.Modified, ok)
}

// rowBytes is about what a row takes of the disk, with its content when that is small.
const rowBytes = 2 * Small

// room refuses what would be more than an account may have. It is a bound and not a count: a few writers at once may pass it by what they
// write.
func (a *Account) room(op string, size int64) error {
	cfg := &a.server.cfg
	if a.blobs.Load() >= cfg.MaxBlobs {
		return fault.Newf(op, fault.Exhausted, "the account has %d blobs, which is all there can be", a.blobs.Load()).Advise("delete some")
	}
	if cfg.MaxBytes > 0 && a.bytes.Load()+size > cfg.MaxBytes {
		return fault.Newf(op, fault.Exhausted, "the account's blobs have %d bytes, of %d there can be", a.bytes.Load(), cfg.MaxBytes).Advise("delete some, or raise the limit")
	}
	return a.server.contents.Spare(rowBytes) // what is larger is counted where it is written
}
