package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

// Block is one that waits, or one of those a blob was made of.
type Block = blob.Block

// From says where a block of a list is to be taken from.
type From uint8

const (
	Latest    From = iota // one that waits, or else the blob's
	Waiting               // one that waits
	Committed             // the blob's
)

// Wanted is an entry of a list that becomes a blob.
type Wanted struct {
	ID   string // decoded
	From From
}

// waiting is when the last block came for each upload.
type waiting struct {
	mu      sync.Mutex // guards the field below
	touched map[blob.Upload]touch
}

type touch struct {
	at    time.Time
	using int // calls under way
}

// use notes that something is done with an upload, until done is called.
func (w *waiting) use(u blob.Upload, now time.Time) (done func()) {
	change := func(by int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.touched[u] = touch{now, w.touched[u].using + by}
	}
	change(1)
	return func() { change(-1) }
}

// lapsed tells whether an upload is unused for long; one that is not known is used now.
func (w *waiting) lapsed(u blob.Upload, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.touched[u]
	if !ok {
		w.touched[u] = touch{at: now}
	}
	return ok && t.using == 0 && now.Sub(t.at) >= maxWait
}

// letGo drops what waits for an upload whose blob is there. What cannot be dropped ends by time.
func (a *Account) letGo(u blob.Upload) {
	w := &a.server.waiting
	w.mu.Lock()
	t, ok := w.touched[u]
	if ok && t.using == 0 {
		delete(w.touched, u)
	}
	w.mu.Unlock()
	if !ok && !a.server.contents.Known(u) { // most blobs come in one piece
		return
	}
	if err := a.server.contents.Forget(u); err != nil {
		a.server.log.Warn("storage: blocks that are no longer needed could not be deleted", "account", a.Name(), "err", err)
	}
}

// Stage keeps a block of size bytes until a list names it. The blob need not be there.
func (a *Account) Stage(ctx context.Context, to Ref, lease, id string, size int64, content io.Reader) error {
	op := "storage.Stage"
	c, err := a.mayPut(ctx, op, to, Properties{}, Condition{}, 0)
	if err != nil {
		return err
	}
	if err := a.leaseOf(ctx, op, to, lease); err != nil {
		return err
	}
	u := a.upload(c, to.Name)
	done := a.server.waiting.use(u, a.server.clock.Now())
	defer done()
	err = a.server.contents.Stage(ctx, u, id, size, content)
	if fault.KindOf(err) == fault.Expired {
		err = fault.New(op, fault.Unavailable, "the blob was made of other blocks while this one came").Advise("send it again").Because(err)
	}
	return err
}

// leaseOf refuses who does not hold the lease of a blob that is there.
func (a *Account) leaseOf(ctx context.Context, op string, to Ref, lease string) error {
	b, _, err := a.server.store.Reading(ctx).Blob(a.id, to.Container, to.Name)
	if err != nil {
		return err
	}
	return leaseForChange(op, b.Lease, lease, a.server.clock.Now())
}

// Blocks lists the blocks a blob was made of, and those that wait for it by id. NotFound when there is neither.
func (a *Account) Blocks(ctx context.Context, of Ref, lease string) (info Info, committed, waiting []Block, err error) {
	op := "storage.Blocks"
	if !wide(of.Container) || !wide(of.Name) {
		return Info{}, nil, nil, noBlob(op, of.Name)
	}
	tx := a.server.store.Reading(ctx)
	c, err := a.containerIn(tx, op, of.Container)
	if err != nil {
		return Info{}, nil, nil, err
	}
	if waiting, err = a.server.contents.Staged(a.upload(c, of.Name)); err != nil {
		return Info{}, nil, nil, err
	}
	b, there, err := tx.Blob(a.id, of.Container, of.Name)
	if err == nil && there {
		err = leaseForRead(op, b.Lease, lease, a.server.clock.Now())
	}
	if err == nil && !there && len(waiting) == 0 {
		err = noBlob(op, of.Name)
	}
	if err == nil && b.Content != "" {
		committed, err = a.committed(tx, b.Content)
	}
	return a.info(b), committed, waiting, err
}

func (a *Account) committed(tx *storagestore.Tx, content string) ([]Block, error) {
	b, err := tx.Blocks(a.id, content)
	if err != nil {
		return nil, err
	}
	return decodeBlocks(b)
}

// Commit makes or replaces a blob of blocks, in the order of the list. What waits and is not in it is let go. Invalid when a block is not
// there.
func (a *Account) Commit(ctx context.Context, to Ref, p Properties, cond Condition, list []Wanted) (Info, error) {
	op := "storage.Commit"
	c, err := a.mayPut(ctx, op, to, p, cond, 0)
	if err != nil {
		return Info{}, err
	}
	u := a.upload(c, to.Name)
	done := a.server.waiting.use(u, a.server.clock.Now())
	out, err := a.commit(ctx, op, c, u, to, p, cond, list)
	done()
	if err == nil {
		a.letGo(u)
	}
	return out, err
}

func (a *Account) commit(ctx context.Context, op string, c storagestore.Container, u blob.Upload, to Ref, p Properties, cond Condition, list []Wanted) (Info, error) {
	parts, blocks, size, err := a.resolve(ctx, op, u, to, list)
	if err != nil {
		return Info{}, err
	}
	if err := a.room(op, size); err != nil {
		return Info{}, err
	}
	b := storagestore.Blob{Container: to.Container, Name: to.Name, Size: size, Properties: p}
	if len(parts) == 0 {
		return a.put(ctx, op, c.Incarnation, b, cond, nil)
	}
	keep := func(at blob.Ref) error {
		_, err := a.server.contents.Assemble(ctx, u, at, blob.Properties{}, parts)
		if fault.KindOf(err) == fault.NotFound {
			return badList(op, err)
		}
		return err
	}
	return a.write(ctx, op, c.Incarnation, b, cond, keep, func(tx *storagestore.Tx, content string) error {
		return tx.PutBlocks(a.id, content, encodeBlocks(blocks))
	})
}

func badList(op string, err error) error {
	return fault.Newf(op, fault.Invalid, "%s", fault.Message(err)).Advise("%s", fault.Next(err)).Because(errors.Join(InvalidBlockList, err))
}

// resolve finds each block of a list.
func (a *Account) resolve(ctx context.Context, op string, u blob.Upload, to Ref, list []Wanted) (parts []blob.Part, blocks []Block, size int64, err error) {
	staged, err := a.server.contents.Staged(u)
	if err != nil {
		return nil, nil, 0, err
	}
	waits := make(map[string]int64, len(staged))
	for _, b := range staged {
		waits[b.ID] = b.Size
	}
	var had map[string]blob.Part // read when the first of them is needed
	for _, w := range list {
		if n, ok := waits[w.ID]; ok && w.From != Committed {
			parts, blocks, size = append(parts, blob.Part{Block: w.ID}), append(blocks, Block{ID: w.ID, Size: n}), size+n
			continue
		}
		if had == nil && w.From != Waiting {
			if had, err = a.runs(ctx, to); err != nil {
				return nil, nil, 0, err
			}
		}
		part, ok := had[w.ID]
		if !ok || w.From == Waiting {
			return nil, nil, 0, fault.Newf(op, fault.Invalid, "the block %.70q of the list is not there", w.ID).
				Advise("send the block again, then the list").Because(InvalidBlockList)
		}
		parts, blocks, size = append(parts, part), append(blocks, Block{ID: w.ID, Size: part.Size}), size+part.Size
	}
	return parts, blocks, size, nil
}

// runs are the blocks of the blob as it is.
func (a *Account) runs(ctx context.Context, of Ref) (map[string]blob.Part, error) {
	out := map[string]blob.Part{}
	tx := a.server.store.Reading(ctx)
	b, _, err := tx.Blob(a.id, of.Container, of.Name)
	if err != nil || b.Content == "" {
		return out, err
	}
	list, err := a.committed(tx, b.Content)
	offset := int64(0)
	for _, l := range list {
		out[l.ID] = blob.Part{From: a.contentRef(b.Content), Offset: offset, Size: l.Size}
		offset += l.Size
	}
	return out, err
}

// encodeBlocks writes ids and sizes as they are kept: lengths as varints, ids as they are.
func encodeBlocks(list []Block) []byte {
	var out []byte
	for _, b := range list {
		out = binary.AppendUvarint(out, uint64(len(b.ID)))
		out = binary.AppendUvarint(append(out, b.ID...), uint64(b.Size))
	}
	return out
}

func decodeBlocks(b []byte) ([]Block, error) {
	var out []Block
	for len(b) > 0 {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return nil, fault.New("storage.decodeBlocks", fault.Internal, "a list of blocks is not as it was written")
		}
		id := string(b[k : k+int(n)])
		b = b[k+int(n):]
		size, k := binary.Uvarint(b)
		if k <= 0 || size > 1<<62 {
			return nil, fault.New("storage.decodeBlocks", fault.Internal, "a list of blocks is not as it was written")
		}
		out, b = append(out, Block{ID: id, Size: int64(size)}), b[k:]
	}
	return slices.Clip(out), nil
}
