package client_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Other programs import this package: it must not bring the server, its database or its protocols with it.
func TestDeps(t *testing.T) {
	allowed := []string{"access/grant", "access/session", "audit", "clock", "fault", "identity", "plan", "resource"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if own, ok := strings.CutPrefix(path, "github.com/isthmus-io/isthmus/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
