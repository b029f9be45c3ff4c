package isthmus_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/isthmus-io/isthmus"

// A pkg is one package of this repository as its files say, for every platform and build tag at once. Tests are left out.
type pkg struct {
	dir     string // "link/mux"
	doc     *ast.CommentGroup
	hasDoc  bool            // doc.go is there
	lines   map[string]int  // by file, how many lines it has
	imports map[string]bool // full import paths
}

// packages reads the heads of all Go files below the repository's root.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	out := map[string]*pkg{}
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"node_modules", "testdata", "bin", "out"}, d.Name())):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		f, err := parser.ParseFile(files, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(name))
		p := out[dir]
		if p == nil {
			p = &pkg{dir: dir, lines: map[string]int{}, imports: map[string]bool{}}
			out[dir] = p
		}
		p.lines[name] = files.File(f.Pos()).LineCount()
		if d.Name() == "doc.go" {
			p.hasDoc, p.doc = true, f.Doc
		}
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		for _, i := range f.Imports {
			text, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			p.imports[text] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 30 {
		t.Fatalf("only %d packages found: the test looks in the wrong place", len(out))
	}
	return out
}

// Somebody who opens a package reads doc.go first: what it is, for whom, what always holds, who owns its goroutines.
func TestEveryPackageSaysWhatItIs(t *testing.T) {
	onlyTests := func(p *pkg) bool {
		for name := range p.lines {
			if !strings.HasSuffix(name, "_test.go") {
				return false
			}
		}
		return true
	}
	for dir, p := range packages(t) {
		if onlyTests(p) {
			continue
		}
		switch {
		case !p.hasDoc:
			t.Errorf("%s has no doc.go: write what the package is, for whom, its invariants and who owns its goroutines", dir)
		case p.doc == nil:
			t.Errorf("%s/doc.go has no package comment", dir)
		case len(p.doc.List) < 3:
			t.Errorf("%s/doc.go: the package comment has %d lines, wanted at least 3", dir, len(p.doc.List))
		case !strings.HasPrefix(p.doc.Text(), "Package "+path.Base(dir)+" ") && !strings.HasPrefix(p.doc.Text(), "Command "+path.Base(dir)+" "):
			t.Errorf("%s/doc.go begins with %q, wanted \"Package %s\"", dir, strings.SplitN(p.doc.Text(), "\n", 2)[0], path.Base(dir))
		}
	}
}

// A file that is longer holds a second idea; give it a file of its own.
func TestFilesAreShort(t *testing.T) {
	const most = 500
	for dir, p := range packages(t) {
		for name, n := range p.lines {
			if n > most && !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s: %s has %d lines, wanted at most %d: what is the second idea in it?", dir, name, n, most)
			}
		}
	}
}
