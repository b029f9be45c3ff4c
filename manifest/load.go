package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// maxFiles is how many files of one directory are read.
const maxFiles = 1000

// Load reads files, directories and, for the path "-", stdin, in the order given. A directory gives its own files that end in .yaml
// or .yml, sorted by name; its directories are not descended into, which a note says. A symbolic link in a directory is followed
// only if it stays inside the directory. The fault it returns tells every problem of every file.
func Load(paths []string, stdin io.Reader) (*Set, error) {
	s := &Set{}
	for _, path := range paths {
		if err := s.load(path, stdin); err != nil {
			return nil, err
		}
	}
	if err := s.problems.fault("manifest.Load"); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Set) load(path string, stdin io.Reader) error {
	if path == "-" {
		return s.read("-", stdin)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return cannotRead(path, err)
	case info.IsDir():
		return s.directory(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return cannotRead(path, err)
	}
	defer func() { _ = f.Close() }() // read only
	return s.read(path, f)
}

func (s *Set) read(name string, r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return cannotRead(name, err)
	}
	s.parse(name, data)
	return nil
}

func (s *Set) directory(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return cannotRead(dir, err)
	}
	defer func() { _ = root.Close() }() // read only
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return cannotRead(dir, err)
	}
	var names []string
	for _, e := range entries {
		switch ext := strings.ToLower(filepath.Ext(e.Name())); {
		case e.IsDir() && !strings.HasPrefix(e.Name(), "."):
			s.Notes = append(s.Notes, filepath.Join(dir, e.Name())+": a directory inside a directory is not read: name it with another -f")
		case !e.IsDir() && (ext == ".yaml" || ext == ".yml"):
			names = append(names, e.Name())
		}
	}
	switch {
	case len(names) == 0:
		return fault.Newf("manifest.Load", fault.Invalid, "%s holds no file that ends in .yaml or .yml", dir).Advise("name the file itself")
	case len(names) > maxFiles:
		return fault.Newf("manifest.Load", fault.TooLarge, "%s holds %d manifests", dir, len(names)).Advise("give at most %d at once", maxFiles)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := s.member(root, dir, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) member(root *os.Root, dir, name string) error {
	path := filepath.Join(dir, name)
	info, err := root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fault.New("manifest.Load", fault.Invalid, path+" is no regular file").Advise("move it out of the directory, or name it with -f itself")
	}
	if err != nil {
		return cannotRead(path, err)
	}
	f, err := root.Open(name)
	if err != nil {
		return cannotRead(path, err)
	}
	defer func() { _ = f.Close() }() // read only
	return s.read(path, f)
}

func cannotRead(path string, err error) error {
	op := "manifest.Load"
	var pe *fs.PathError
	switch {
	case fault.KindOf(err) != fault.Internal:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fault.Newf(op, fault.NotFound, "there is no file %s", path).Because(err).Advise("check the path; directories and - (standard input) can be given too")
	case errors.Is(err, fs.ErrPermission):
		return fault.Newf(op, fault.Denied, "%s may not be read by this user", path).Because(err)
	case errors.As(err, &pe) && strings.Contains(pe.Err.Error(), "escapes"):
		return fault.Newf(op, fault.Invalid, "%s is a link that leads out of its directory", path).Because(err).Advise("name the file it leads to with -f")
	}
	return fault.Wrap(op, fault.Unavailable, err, fmt.Sprintf("%s cannot be read: %v", path, err))
}
