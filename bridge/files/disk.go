package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/isthmus-io/isthmus/fault"
)

// disk is files below one folder, which nothing leads out of.
type disk struct {
	root *os.Root
	tmp  string // the folder of what is being written, below root; no path of a template begins with a dot
	next atomic.Int64
}

// openDisk opens a folder, which is made if it is not there, below one of those that are allowed.
func openDisk(folder string, allowed []string, bridge string) (*disk, error) {
	op := "files.New"
	folder = filepath.Clean(folder)
	for _, base := range allowed {
		base = filepath.Clean(base)
		rel, err := filepath.Rel(base, folder)
		if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			continue
		}
		root, err := os.OpenRoot(base)
		if err != nil {
			return nil, fault.Newf(op, fault.Unavailable, "the folder %s, below which bridges may write, cannot be opened", base).
				Advise("make it, or mount its disk").Because(err)
		}
		if rel != "." { // not through a link that leads elsewhere
			in, err := below(root, rel)
			if err = errors.Join(err, root.Close()); err != nil {
				return nil, localWords(op, err)
			}
			root = in
		}
		d := &disk{root: root, tmp: ".isthmus-" + bridge}
		err = root.RemoveAll(d.tmp) // of a process before
		if err == nil {
			err = root.Mkdir(d.tmp, 0o700)
		}
		if err != nil {
			return nil, errors.Join(localWords(op, err), root.Close())
		}
		return d, nil
	}
	return nil, fault.Newf(op, fault.Denied, "bridges may not write to the folder %s", folder).
		Advise("start the process with --bridge-folder for it, or for a folder that it is in")
}

func below(root *os.Root, rel string) (*os.Root, error) {
	if err := root.MkdirAll(rel, 0o750); err != nil {
		return nil, err
	}
	return root.OpenRoot(rel)
}

func (d *disk) put(ctx context.Context, name, _ string, _ int64, render func(io.Writer) error) error {
	if err := d.write(ctx, name, render); err != nil {
		return localWords("files.Flush", err)
	}
	return nil
}

func (d *disk) write(ctx context.Context, name string, render func(io.Writer) error) (err error) {
	tmp := path.Join(d.tmp, strconv.FormatInt(d.next.Add(1), 10))
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if errors.Is(err, fs.ErrNotExist) { // somebody has tidied up
		if err = d.root.Mkdir(d.tmp, 0o700); err == nil {
			f, err = d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
		}
	}
	if err != nil {
		return err
	}
	err = render(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = d.rename(tmp, name)
	}
	if err != nil {
		_ = d.root.Remove(tmp) // what matters is the error above
	}
	return err
}

// rename gives the file its name, and makes that and the folders it is in durable.
func (d *disk) rename(tmp, name string) error {
	var fresh []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, err := d.root.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		fresh = append(fresh, path.Dir(dir))
	}
	if err := d.root.MkdirAll(path.Dir(name), 0o750); err != nil {
		return err
	}
	if err := d.root.Rename(tmp, name); err != nil {
		return err
	}
	for _, dir := range append([]string{path.Dir(name)}, fresh...) {
		if err := d.sync(dir); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) sync(dir string) error {
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

func (d *disk) close() error {
	_ = d.root.RemoveAll(d.tmp) // the next one to open does it otherwise
	return d.root.Close()
}

// clean makes a folder that is there and empty.
func clean(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o700)
}

// localWords says what is wrong with a disk. All of it is waited out.
func localWords(op string, err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	const diskFull = syscall.Errno(112) // ERROR_DISK_FULL
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), runtime.GOOS == "windows" && errors.Is(err, diskFull):
		return fault.New(op, fault.Exhausted, "the disk is full").Advise("make room on it: the bridge waits, and nothing is lost").Because(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.New(op, fault.Denied, "the disk does not let the process write").Advise("give the user it runs as the right to write there").Because(err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.ENOTEMPTY):
		return fault.New(op, fault.Conflict, "a file is where a folder should be, or the other way round").Advise("move it away, or choose another path").Because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.New(op, fault.Unavailable, "the writing was given up").Because(err)
	}
	return fault.New(op, fault.Unavailable, "the disk cannot be written").Advise("see what the log of the process says about it").Because(err)
}
