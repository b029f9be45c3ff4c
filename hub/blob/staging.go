package blob

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// A block's file is its content and this trailer, so that a block which a crash left in pieces is not taken for whole.
const (
	trailerMagic = "isthmus block 1\n"
	trailerSize  = len(trailerMagic) + 8 + 4 // magic, size, CRC-32C, big endian
	doneFile     = "done"                    // in an upload's folder: the digest of the list that made the blob
	leastCharge  = 4 << 10                   // what the smallest file takes of a disk
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Upload says whose blocks are meant: an upload of a hub. Both are made by the hub, of letters, digits, - and _.
type Upload struct{ Hub, ID string }

func (u Upload) dir() string { return path.Join(stagedDir, escape(u.Hub), escape(u.ID)) }

func blockName(id string) string { return hex.EncodeToString([]byte(id)) }

// waiting is what an upload has staged.
type waiting struct {
	number uint64 // another one when the upload is forgotten and something of it comes yet
	bytes  int64  // charged
	blocks int
}

// Block is one that waits.
type Block struct {
	ID   string
	Size int64
}

// Stage keeps a block of size bytes for an upload, in place of an earlier one of the same id. Faults: TooLarge, Exhausted (disk, or too much
// waits), Invalid when content has another size.
func (s *Store) Stage(ctx context.Context, u Upload, id string, size int64, content io.Reader) error {
	op := "blob.Stage"
	if id == "" || len(id) > 64 || size <= 0 {
		return fault.New(op, fault.Invalid, "a block has an id of 1 to 64 bytes and at least one byte of content")
	}
	charge := max(size+int64(trailerSize), leastCharge)
	number, err := s.charge(u, charge)
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			s.discharge(u, number, charge)
		}
	}()
	release, err := s.room(op, charge)
	if err != nil {
		return err
	}
	defer release()
	tmp, name, err := s.disk.temporary()
	if err != nil {
		return s.disk.words(op, err)
	}
	defer func() { // both have been done when all went well
		_ = tmp.Close()
		_ = s.disk.root.Remove(name)
	}()
	sum := crc32.New(castagnoli)
	if err := copyN(ctx, io.MultiWriter(tmp, sum), content, size); err != nil {
		return s.disk.words(op, err)
	}
	trailer := binary.BigEndian.AppendUint64([]byte(trailerMagic), uint64(size))
	if _, err := tmp.Write(binary.BigEndian.AppendUint32(trailer, sum.Sum32())); err != nil {
		return s.disk.words(op, err)
	}
	if err := tmp.Close(); err != nil {
		return s.disk.words(op, err)
	}
	to := path.Join(u.dir(), blockName(id))
	s.staging.Lock()
	defer s.staging.Unlock()
	if s.number(u) != number {
		return fault.New(op, fault.Expired, "the upload ended while the block was on its way").Advise("begin another upload")
	}
	if err := s.disk.root.MkdirAll(u.dir(), 0o700); err != nil {
		return s.disk.words(op, err)
	}
	old := int64(0)
	if fi, err := s.disk.root.Stat(to); err == nil {
		old = max(fi.Size(), leastCharge)
	}
	if err := s.disk.root.Rename(name, to); err != nil {
		return s.disk.words(op, err)
	}
	kept = true
	if old > 0 {
		s.discharge(u, number, old)
	}
	return nil
}

// Staged lists the blocks that wait for an upload, by id.
func (s *Store) Staged(u Upload) ([]Block, error) {
	list, err := s.ids(u)
	if err != nil {
		return nil, err
	}
	var out []Block
	for _, id := range list {
		b, err := s.openBlock(u, id)
		if err != nil { // overtaken, or harmed: it is not there
			continue
		}
		out = append(out, Block{id, b.size})
		_ = b.file.Close()
	}
	return out, nil
}

func (s *Store) ids(u Upload) ([]string, error) {
	list, err := fs.ReadDir(s.disk.root.FS(), u.dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.disk.words("blob.Staged", err)
	}
	var out []string
	for _, e := range list {
		if id, err := hex.DecodeString(e.Name()); err == nil {
			out = append(out, string(id))
		}
	}
	slices.Sort(out)
	return out, nil
}

// block is one that is open for reading.
type block struct {
	file *os.File
	size int64
	sum  uint32
}

// openBlock fails with NotFound when the block is not there whole.
func (s *Store) openBlock(u Upload, id string) (block, error) {
	op := "blob.Commit"
	missing := fault.Newf(op, fault.NotFound, "the block %q of the list was not sent, or did not come whole", id).Advise("send the block again, then the list")
	f, err := s.disk.root.Open(path.Join(u.dir(), blockName(id)))
	if errors.Is(err, fs.ErrNotExist) {
		return block{}, missing
	}
	if err != nil {
		return block{}, s.disk.words(op, err)
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() > int64(trailerSize) {
		b := block{file: f, size: fi.Size() - int64(trailerSize)}
		trailer := make([]byte, trailerSize)
		if _, err = f.ReadAt(trailer, b.size); err == nil {
			rest, whole := strings.CutPrefix(string(trailer), trailerMagic)
			b.sum = binary.BigEndian.Uint32([]byte(rest[8:]))
			if whole && binary.BigEndian.Uint64([]byte(rest)) == uint64(b.size) {
				return b, nil
			}
		}
	}
	return block{}, errors.Join(missing, f.Close())
}

// Commit makes the blob of the upload's blocks in the order of the list, and lets go of all that wait. The same list once more is the same
// blob. NotFound when a block of the list is not there, TooLarge when they are too much together.
func (s *Store) Commit(ctx context.Context, u Upload, to Ref, p Properties, list []string) (Info, error) {
	op := "blob.Commit"
	at, err := to.parts()
	if err != nil {
		return Info{}, err
	}
	digest := digestOf(at, list)
	total := int64(0)
	for _, id := range list {
		b, err := s.openBlock(u, id)
		if err != nil {
			if was, derr := s.disk.root.ReadFile(path.Join(u.dir(), doneFile)); fault.KindOf(err) == fault.NotFound && derr == nil && string(was) == digest {
				return s.Stat(ctx, to)
			}
			return Info{}, err
		}
		total += b.size
		_ = b.file.Close()
	}
	if total > s.cfg.MaxBlob {
		return Info{}, s.tooLarge(op)
	}
	release, err := s.roomForBlob(op, total)
	if err != nil {
		return Info{}, err
	}
	defer release()
	info, err := s.keeper.write(ctx, at, p, func(w io.Writer) error {
		for _, id := range list {
			if err := s.append(ctx, w, u, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Info{}, err
	}
	return info, s.done(u, digest) // when it fails, the same list makes the same blob again
}

// done remembers the list that became the blob, and lets the upload's blocks go.
func (s *Store) done(u Upload, digest string) error {
	if err := s.mark(u, digest); err != nil {
		return s.disk.words("blob.Commit", err)
	}
	if all, err := s.ids(u); err == nil { // Forget does it again
		s.drop(u, all)
	}
	return nil
}

func (s *Store) mark(u Upload, digest string) error {
	s.staging.Lock()
	defer s.staging.Unlock()
	s.mu.Lock()
	s.enter(u) // also one that had no block
	s.mu.Unlock()
	if err := s.disk.root.MkdirAll(u.dir(), 0o700); err != nil {
		return err
	}
	f, err := s.disk.root.Create(path.Join(u.dir(), doneFile))
	if err != nil {
		return err
	}
	_, err = f.WriteString(digest)
	return errors.Join(err, f.Sync(), f.Close(), s.disk.syncFolder(u.dir()))
}

func (s *Store) append(ctx context.Context, w io.Writer, u Upload, id string) error {
	b, err := s.openBlock(u, id)
	if err != nil {
		return err
	}
	defer b.file.Close()
	sum := crc32.New(castagnoli)
	if err := copyN(ctx, io.MultiWriter(w, sum), b.file, b.size); err != nil {
		return err
	}
	if sum.Sum32() != b.sum {
		return fault.Newf("blob.Commit", fault.NotFound, "the block %q is not on the disk as it was sent", id).Advise("send the block again, then the list")
	}
	return nil
}

func digestOf(at, list []string) string {
	h := sha256.New()
	for _, text := range append(at[:len(at):len(at)], list...) {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text))))
		_, _ = io.WriteString(h, text)
	}
	return hex.EncodeToString(h.Sum(nil))
}
