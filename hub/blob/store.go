package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
)

// Store keeps blobs and what waits to become one. It is safe for concurrent use.
type Store struct {
	cfg    Config
	log    *slog.Logger
	disk   *disk  // staged blocks, and blobs unless there is a bucket
	keeper keeper // blobs

	staging sync.Mutex // held while a block takes its place, or leaves it; before mu

	mu      sync.Mutex // guards the fields below
	waiting map[Upload]waiting
	begun   uint64 // how often an upload was entered in waiting
	staged  int64  // charged, of all uploads
	writing int64  // bytes that calls under way may still put on the disk
}

// Open makes the folders, finds what waits from an earlier process, and opens the bucket if there is one. Faults: Invalid, Unavailable.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	op := "blob.Open"
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, fault.New(op, fault.Invalid, "files have no folder").Advise("name a data directory")
	}
	for _, name := range []string{blobsDir, propertiesDir, stagedDir, tmpDir} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, name), 0o700); err != nil {
			return nil, fault.Newf(op, fault.Unavailable, "the folder for files, %s, cannot be made", cfg.Dir).Because(err)
		}
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fault.Newf(op, fault.Unavailable, "the folder for files, %s, cannot be opened", cfg.Dir).Because(err)
	}
	s := &Store{cfg: cfg, log: log, disk: &disk{root: root}, waiting: map[Upload]waiting{}}
	s.keeper = s.disk
	if err := s.find(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	if cfg.Bucket != "" {
		b, err := openBucket(ctx, cfg.Bucket)
		if err != nil {
			return nil, errors.Join(err, root.Close())
		}
		s.keeper = b
	}
	return s, nil
}

// Close lets go of folder and bucket. Call it when no call is under way.
func (s *Store) Close() error {
	return errors.Join(s.keeper.close(), s.disk.root.Close())
}

// find counts what waits, and takes away what was being written when the process before this one ended.
func (s *Store) find() error {
	op := "blob.Open"
	files := s.disk.root.FS()
	left, err := fs.ReadDir(files, tmpDir)
	if err != nil {
		return s.disk.words(op, err)
	}
	for _, e := range left {
		_ = s.disk.root.Remove(path.Join(tmpDir, e.Name())) // it would only take space
	}
	hubs, err := fs.ReadDir(files, stagedDir)
	if err != nil {
		return s.disk.words(op, err)
	}
	for _, h := range hubs {
		uploads, err := fs.ReadDir(files, path.Join(stagedDir, h.Name()))
		if err != nil {
			return s.disk.words(op, err)
		}
		for _, u := range uploads {
			blocks, err := fs.ReadDir(files, path.Join(stagedDir, h.Name(), u.Name()))
			if err != nil {
				return s.disk.words(op, err)
			}
			var w waiting
			for _, b := range blocks {
				if fi, err := b.Info(); err == nil && b.Name() != doneFile {
					w.blocks++
					w.bytes += max(fi.Size(), leastCharge)
				}
			}
			s.begun++
			w.number = s.begun
			s.waiting[Upload{h.Name(), u.Name()}] = w
			s.staged += w.bytes
		}
	}
	return nil
}

// enter returns what waits for an upload, and notes that something does. The caller holds mu.
func (s *Store) enter(u Upload) waiting {
	w, ok := s.waiting[u]
	if !ok {
		s.begun++
		w.number = s.begun
		s.waiting[u] = w
	}
	return w
}

// charge takes room for a block of an upload, and returns the upload's number until it is forgotten.
func (s *Store) charge(u Upload, bytes int64) (number uint64, err error) {
	op := "blob.Stage"
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting[u]
	switch {
	case w.blocks >= s.cfg.MaxBlocks:
		return 0, fault.Newf(op, fault.TooLarge, "the upload has %d blocks, which is the limit", w.blocks).Advise("send larger blocks")
	case w.bytes+bytes > s.cfg.MaxBlob+int64(s.cfg.MaxBlocks)*leastCharge:
		return 0, s.tooLarge(op)
	case s.staged+bytes > s.cfg.MaxStaged:
		return 0, fault.Newf(op, fault.Exhausted, "the blocks of all uploads that are not finished take %d bytes, which is the limit", s.staged).
			Advise("try again when others have finished; unfinished uploads end by themselves")
	}
	w = s.enter(u)
	s.waiting[u] = waiting{w.number, w.bytes + bytes, w.blocks + 1}
	s.staged += bytes
	return w.number, nil
}

func (s *Store) discharge(u Upload, number uint64, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.waiting[u]
	if !ok || w.number != number { // it was forgotten meanwhile, with all that it held
		return
	}
	s.waiting[u] = waiting{number, w.bytes - bytes, w.blocks - 1}
	s.staged -= bytes
}

// room takes disk space for a write of some bytes, until release.
func (s *Store) room(op string, bytes int64) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free, total, ok := space(s.cfg.Dir); ok {
		reserve := s.cfg.Reserve
		if reserve <= 0 {
			// More than the event log keeps: on a disk that both are on, files stop first and messages go on.
			reserve = min(max(total/20, 320<<20), 5<<30)
		}
		if free-s.writing-bytes < reserve {
			return nil, fault.Newf(op, fault.Exhausted, "the disk that keeps files has %d bytes free, of which %d are kept in reserve and %d are being written; %d more do not fit",
				free, reserve, s.writing, bytes).Advise("delete files that are no longer needed, or give the hub a larger disk")
		}
	}
	s.writing += bytes
	return func() {
		s.mu.Lock()
		s.writing -= bytes
		s.mu.Unlock()
	}, nil
}

// roomForBlob is room for a whole blob, which takes none here when it goes to a bucket.
func (s *Store) roomForBlob(op string, bytes int64) (release func(), err error) {
	if s.keeper != keeper(s.disk) {
		return func() {}, nil
	}
	return s.room(op, bytes)
}

func (s *Store) tooLarge(op string) error {
	return fault.Newf(op, fault.TooLarge, "a file may have %d bytes, this one has more", s.cfg.MaxBlob).Advise("send it in parts, or raise the limit")
}

// Put makes a blob of content, which has size bytes, for an upload, or for nobody when that is zero. Faults: TooLarge, Exhausted, Invalid
// when content has another size.
func (s *Store) Put(ctx context.Context, u Upload, to Ref, p Properties, size int64, content io.Reader) (Info, error) {
	op := "blob.Put"
	if size > s.cfg.MaxBlob {
		return Info{}, s.tooLarge(op)
	}
	at, err := to.parts()
	if err != nil {
		return Info{}, err
	}
	release, err := s.roomForBlob(op, size)
	if err != nil {
		return Info{}, err
	}
	defer release()
	info, err := s.keeper.write(ctx, at, p, func(w io.Writer) error { return copyN(ctx, w, content, size) })
	if err == nil && u != (Upload{}) {
		err = s.done(u, "put")
	}
	return info, err
}

// Stat tells about a blob. NotFound when there is none.
func (s *Store) Stat(ctx context.Context, of Ref) (Info, error) {
	at, err := of.parts()
	if err != nil {
		return Info{}, err
	}
	return s.keeper.stat(ctx, at)
}

// Read gives length bytes of a blob from offset on, all that are left when length is negative. The caller closes it.
func (s *Store) Read(ctx context.Context, of Ref, offset, length int64) (io.ReadCloser, error) {
	at, err := of.parts()
	if err != nil {
		return nil, err
	}
	return s.keeper.read(ctx, at, offset, length)
}

// Delete removes a blob. NotFound when there is none.
func (s *Store) Delete(ctx context.Context, of Ref) error {
	at, err := of.parts()
	if err != nil {
		return err
	}
	return s.keeper.remove(ctx, at)
}

// Forget lets go of all that waits for an upload.
func (s *Store) Forget(u Upload) error {
	s.staging.Lock()
	defer s.staging.Unlock()
	err := s.disk.root.RemoveAll(u.dir())
	s.mu.Lock()
	s.staged -= s.waiting[u].bytes
	delete(s.waiting, u)
	s.mu.Unlock()
	if err != nil {
		return s.disk.words("blob.Forget", err)
	}
	return nil
}

// Finished tells whether the upload made its blob.
func (s *Store) Finished(u Upload) bool {
	_, err := s.disk.root.Stat(path.Join(u.dir(), doneFile))
	return err == nil
}

// number returns the upload's number, 0 when nothing of it is, or may be, here.
func (s *Store) number(u Upload) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting[u].number
}

// drop removes blocks of an upload that became its blob, or were not chosen.
func (s *Store) drop(u Upload, list []string) {
	s.staging.Lock()
	defer s.staging.Unlock()
	for _, id := range list {
		name := path.Join(u.dir(), blockName(id))
		fi, err := s.disk.root.Stat(name)
		if err == nil && s.disk.root.Remove(name) == nil {
			s.discharge(u, s.number(u), max(fi.Size(), leastCharge))
		}
	}
}

// Waiting lists the uploads that have a folder here.
func (s *Store) Waiting() []Upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Upload, 0, len(s.waiting))
	for u := range s.waiting {
		out = append(out, u)
	}
	return out
}

// Staging tells how many bytes wait, in all uploads.
func (s *Store) Staging() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.staged
}
