package casebook

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Case is something that has to be so.
type Case struct {
	ID   string // "C01"
	What string // one line
	// Later says why there may be no test of it yet.
	Later string
}

// With is what a test shows a case with: a package with its version, or, where Version is empty, something of which one row is enough for
// all subtests of a test.
type With struct{ Name, Version string }

// Book has the cases of a suite and what became of the tests that cover them.
type Book struct {
	cases []Case

	mu      sync.Mutex // guards results
	results []result
}

type result struct {
	id     string
	with   With
	test   string
	passed bool
}

// New makes a book of cases.
func New(cases []Case) *Book { return &Book{cases: cases} }

// Covers says that a test, or a subtest, is a proof of a case with each of these.
func (b *Book) Covers(t *testing.T, id string, with ...With) {
	t.Helper()
	if !slices.ContainsFunc(b.cases, func(c Case) bool { return c.ID == id }) {
		t.Fatalf("there is no case %q", id)
	}
	for _, w := range with {
		t.Attr("case", strings.TrimSpace(id+" "+w.Name+" "+w.Version))
		t.Cleanup(func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.results = append(b.results, result{id, w, t.Name(), !t.Failed() && !t.Skipped()})
		})
	}
}

// Package is a package for Node.js that the package-lock.json of the working directory names.
func Package(name string) (With, error) {
	b, err := os.ReadFile("package-lock.json")
	if err != nil {
		return With{}, err
	}
	var lock struct {
		Packages map[string]struct{ Version string }
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		return With{}, err
	}
	v := lock.Packages["node_modules/"+name].Version
	if v == "" {
		return With{}, fmt.Errorf("package-lock.json has no package %q", name)
	}
	return With{name, v}, nil
}
