package blob

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/isthmus-io/isthmus/fault"
)

// Folders of the store's own.
const (
	blobsDir      = "blobs"
	propertiesDir = "properties" // the same paths, for those blobs whose writer said something about them
	stagedDir     = "staged"
	tmpDir        = "tmp" // what is being written
)

// disk keeps blobs as files below one folder, which nothing leads out of.
type disk struct {
	root    *os.Root
	folders sync.RWMutex // held for writing while folders that are empty are taken away
}

func diskPath(under string, at []string) string {
	parts := []string{under}
	for _, p := range at {
		parts = append(parts, escape(p))
	}
	return path.Join(parts...)
}

// kept is a blob's properties on the disk. They count only for the file they were written with.
type kept struct {
	Properties
	For string `json:"for"`
}

func etag(fi fs.FileInfo) string {
	return "0x" + strings.ToUpper(strconv.FormatInt(fi.ModTime().UnixNano(), 16)) + "-" + strconv.FormatInt(fi.Size(), 16)
}

func (d *disk) write(ctx context.Context, at []string, p Properties, fill func(io.Writer) error) (Info, error) {
	op := "blob.write"
	tmp, name, err := d.temporary()
	if err != nil {
		return Info{}, d.words(op, err)
	}
	defer func() { // both have been done when all went well
		_ = tmp.Close()
		_ = d.root.Remove(name)
	}()
	if err := fill(tmp); err != nil {
		return Info{}, d.words(op, err)
	}
	if err := tmp.Sync(); err != nil {
		return Info{}, d.words(op, err)
	}
	fi, err := tmp.Stat()
	if err != nil {
		return Info{}, d.words(op, err)
	}
	if err := tmp.Close(); err != nil {
		return Info{}, d.words(op, err)
	}
	if err := ctx.Err(); err != nil {
		return Info{}, fault.Wrap(op, fault.Unavailable, err, "the writer went away before its blob was whole")
	}
	to := diskPath(blobsDir, at)
	d.folders.RLock()
	defer d.folders.RUnlock()
	if err := d.root.MkdirAll(path.Dir(to), 0o700); err != nil {
		return Info{}, d.words(op, err)
	}
	// First, so that no reader sees the new content without them; they are not taken for the old one's.
	if err := d.writeProperties(at, kept{p, etag(fi)}); err != nil {
		return Info{}, d.words(op, err)
	}
	if err := d.root.Rename(name, to); err != nil {
		return Info{}, d.words(op, err)
	}
	for dir := path.Dir(to); dir != "."; dir = path.Dir(dir) { // also those that may be new
		if err := d.syncFolder(dir); err != nil {
			return Info{}, d.words(op, err)
		}
	}
	return Info{Properties: p, Size: fi.Size(), Modified: fi.ModTime().UTC(), ETag: etag(fi)}, nil
}

func (d *disk) writeProperties(at []string, k kept) error {
	to := diskPath(propertiesDir, at)
	if k.empty() {
		if err := d.root.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := d.root.MkdirAll(path.Dir(to), 0o700); err != nil {
		return err
	}
	tmp, name, err := d.temporary()
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = d.root.Rename(name, to)
	}
	if err != nil {
		_ = d.root.Remove(name) // what matters is the error above
		return err
	}
	return d.syncFolder(path.Dir(to))
}

func (d *disk) stat(_ context.Context, at []string) (Info, error) {
	fi, err := d.root.Stat(diskPath(blobsDir, at))
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Info{}, d.words("blob.Stat", err)
	}
	out := Info{Size: fi.Size(), Modified: fi.ModTime().UTC(), ETag: etag(fi)}
	var k kept
	if b, err := d.root.ReadFile(diskPath(propertiesDir, at)); err == nil && json.Unmarshal(b, &k) == nil && k.For == out.ETag {
		out.Properties = k.Properties
	}
	return out, nil
}

func (d *disk) read(_ context.Context, at []string, offset, length int64) (io.ReadCloser, error) {
	f, err := d.root.Open(diskPath(blobsDir, at))
	if err != nil {
		return nil, d.words("blob.Read", err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, d.words("blob.Read", err)
	}
	if length < 0 {
		return f, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, length), f}, nil
}

// remove also takes away the folders that are empty then, up to the container's.
func (d *disk) remove(_ context.Context, at []string) error {
	to := diskPath(blobsDir, at)
	if fi, err := d.root.Lstat(to); err == nil && fi.IsDir() {
		return d.words("blob.Delete", fs.ErrNotExist)
	}
	if err := d.root.Remove(to); err != nil {
		return d.words("blob.Delete", err)
	}
	_ = d.root.Remove(diskPath(propertiesDir, at)) // few have them, and alone they mean nothing
	if err := d.syncFolder(path.Dir(to)); err != nil {
		return d.words("blob.Delete", err)
	}
	d.folders.Lock()
	defer d.folders.Unlock()
	for n := len(at) - 1; n > 2; n-- {
		_ = d.root.Remove(diskPath(propertiesDir, at[:n]))
		if d.root.Remove(diskPath(blobsDir, at[:n])) != nil { // it holds others
			break
		}
	}
	return nil
}

func (d *disk) close() error { return nil } // the root is the store's

func (d *disk) temporary() (f *os.File, name string, err error) {
	name = path.Join(tmpDir, rand.Text())
	f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return f, name, err
}

// syncFolder makes a rename durable. Windows has no such call and needs none; some network file systems refuse it.
func (d *disk) syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// words turns errors of the system into faults; faults pass.
func (d *disk) words(op string, err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(op, fault.NotFound, "there is no such blob").Because(err)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return full(op).Because(err)
	case errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.ENOTEMPTY):
		return fault.New(op, fault.Conflict, "a blob and a folder cannot have the same name on a disk: one of the two names is in use").
			Advise("give the file another name").Because(err)
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(op, fault.Unavailable, err, "the call was given up")
	}
	return fault.Wrap(op, fault.Internal, err, "")
}

func full(op string) *fault.Error {
	return fault.New(op, fault.Exhausted, "the disk that keeps files is full; nothing of this file was stored").
		Advise("delete files that are no longer needed, or give the hub a larger disk")
}
