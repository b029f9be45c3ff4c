package docs_test

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// required reads the module paths and versions of go.mod.
func required(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := regexp.MustCompile(`^(?:require)?\s+(\S+\.\S+/\S+|\S+\.\S+)\s+(v\S+)`)
	out := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if m := line.FindStringSubmatch(s.Text()); m != nil {
			out[m[1]] = m[2]
		}
	}
	if len(out) == 0 {
		t.Fatal("no module found in go.mod")
	}
	return out
}

// use is where a module is imported.
type use struct {
	program string // a file that is not a test; empty when there is none
	test    string
}

// imported finds the modules our own code imports, on any platform. "// indirect" in go.mod is not asked: it is a remark of go mod
// tidy and may be stale.
func imported(t *testing.T, modules map[string]string) map[string]use {
	t.Helper()
	out := map[string]use{}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() && name != ".." && isModule(name): // of test programs, with requirements of its own
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			text, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			best := ""
			for m := range modules {
				if (text == m || strings.HasPrefix(text, m+"/")) && len(m) > len(best) {
					best = m
				}
			}
			if best == "" {
				continue // the standard library or ourselves
			}
			u := out[best]
			// Rooms named like hubtest hold what tests share; deps_test.go sees to it that no program links them.
			if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(filepath.Dir(name), "test") {
				u.test = name
			} else {
				u.program = name
			}
			out[best] = u
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// row is one line of a table in dependencies.md.
type row struct {
	section, module, licence, release string
}

func rows(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("decisions/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []row
	section := ""
	for line := range strings.Lines(string(text)) {
		if s, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(s)
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 {
			t.Errorf("a row with %d cells, wanted 6: %s", len(cells), line)
			continue
		}
		for i := range cells {
			if cells[i] = strings.TrimSpace(cells[i]); cells[i] == "" {
				t.Errorf("an empty cell: %s", line)
			}
		}
		out = append(out, row{section, strings.Trim(cells[0], "`"), cells[3], cells[4]})
	}
	return out
}

func TestEveryDependencyHasAReason(t *testing.T) {
	modules := required(t)
	uses := imported(t, modules)
	written := map[string]row{}
	for _, r := range rows(t) {
		if _, ok := written[r.module]; ok {
			t.Errorf("%s has two rows", r.module)
		}
		written[r.module] = r
	}
	for m, u := range uses {
		r, ok := written[m]
		if !ok {
			t.Errorf("%s is imported (%s%s) and has no row in docs/decisions/dependencies.md: say what it is for and why it is not our own code", m, u.program, u.test)
			continue
		}
		if want := map[bool]string{true: "In tests only", false: "In programs"}[u.program == ""]; r.section != want {
			t.Errorf("%s stands under %q, wanted %q (%s%s)", m, r.section, want, u.program, u.test)
		}
		version, _, _ := strings.Cut(strings.TrimPrefix(modules[m], "v"), "-")
		if !strings.HasPrefix(r.release, version+",") {
			t.Errorf("%s: the row says release %q, go.mod has %s", m, r.release, modules[m])
		}
	}
	permissive := []string{"Apache-2.0", "MIT", "BSD-3-Clause", "BSD-2-Clause", "ISC"}
	for m, r := range written {
		if _, ok := uses[m]; !ok {
			t.Errorf("%s has a row in docs/decisions/dependencies.md and nothing imports it", m)
		}
		if r.section == "In programs" && !slices.ContainsFunc(permissive, func(l string) bool { return strings.HasPrefix(r.licence, l) }) {
			t.Errorf("%s is in programs under %q, which is not one of %v", m, r.licence, permissive)
		}
	}
}

// Records are numbered without gaps, carry the three parts, and are half a page.
func TestRecordsHaveOneForm(t *testing.T) {
	files, err := filepath.Glob("decisions/[0-9]*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d records, %v", len(files), err)
	}
	name := regexp.MustCompile(`^(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md$`)
	for i, f := range files {
		m := name.FindStringSubmatch(filepath.Base(f))
		if m == nil {
			t.Errorf("%s is not named NNNN-some-words.md", f)
			continue
		}
		if n, _ := strconv.Atoi(m[1]); n != i+1 {
			t.Errorf("%s: wanted number %04d here", f, i+1)
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if !strings.HasPrefix(text, "# "+m[1]+" ") {
			t.Errorf("%s does not begin with its number and title", f)
		}
		for _, part := range []string{"\n**Context.** ", "\n**Choice.** ", "\n**Cost.** "} {
			if strings.Count(text, part) != 1 {
				t.Errorf("%s: wanted %q once", f, strings.TrimSpace(part))
			}
		}
		if lines := strings.Count(text, "\n"); lines > 40 {
			t.Errorf("%s has %d lines; a record is half a page", f, lines)
		}
	}
}

// Links between documents lead somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	files, _ := filepath.Glob("*.md")
	more, _ := filepath.Glob("decisions/*.md")
	top, _ := filepath.Glob("../*.md")
	for _, f := range slices.Concat(files, more, top) {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", f, m[1])
			}
		}
	}
}

func TestEveryPageIsInTheIndex(t *testing.T) {
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("*.md")
	if err != nil || len(pages) < 2 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, p := range pages {
		if p != "README.md" && !strings.Contains(string(index), "]("+p+")") {
			t.Errorf("docs/README.md does not name %s", p)
		}
	}
}
