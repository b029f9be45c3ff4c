package deadletter

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

const (
	suffix      = ".letters"
	segmentSize = 16 << 20
)

// segment is one file.
type segment struct {
	path   string
	number uint64 // in the order in which they were begun
	first  uint64 // the id that the next letter was to get then
	size   int64
	live   int // letters in it that are kept
}

// segments lists the files of a folder, the oldest first.
func segments(dir string) ([]*segment, error) {
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []*segment
	for _, f := range list {
		name, ok := strings.CutSuffix(f.Name(), suffix)
		before, behind, both := strings.Cut(name, "-")
		number, err := strconv.ParseUint(before, 10, 64)
		first, err2 := strconv.ParseUint(behind, 10, 64)
		if !ok || !both || err != nil || err2 != nil {
			continue
		}
		out = append(out, &segment{path: filepath.Join(dir, f.Name()), number: number, first: first})
	}
	slices.SortFunc(out, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return out, nil
}

// newSegment makes a file that must not be there yet.
func newSegment(dir string, number, first uint64) (*segment, *os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	s := &segment{path: filepath.Join(dir, fmt.Sprintf("%010d-%d", number, first)+suffix), number: number, first: first}
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := keepfile.SyncFolder(dir); err != nil {
		return nil, nil, errors.Join(err, f.Close(), os.Remove(s.path))
	}
	return s, f, nil
}

// diskFault puts words to what a disk says.
func diskFault(op string, err error) error {
	kind, next := fault.Unavailable, "look at the disk of the machine"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC):
		kind, next = fault.Exhausted, "make room on the disk: until then the bridge waits"
	case errors.Is(err, fs.ErrPermission):
		kind, next = fault.Denied, "give the folder to the user that the process runs as"
	}
	return fault.New(op, kind, "dead letters cannot be kept on the disk").Advise("%s", next).Because(err)
}
