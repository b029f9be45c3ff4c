package casebook

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Page is a file that says what a suite shows.
type Page struct {
	File   string
	Update bool // write it instead of comparing
	// Text is the page around the table of cases, of which shown have tests that all pass.
	Text func(shown, all int, table string) string
	// Again is the command that writes it.
	Again string
}

// Main runs a suite's tests, those that run beside each other up to parallel at once, and afterwards, unless only some of them were asked
// for, keeps the page. It returns the code to exit with. flag.Parse has been called.
func (b *Book) Main(m *testing.M, parallel int, p Page) int {
	if err := flag.Set("test.parallel", fmt.Sprint(parallel)); err != nil {
		panic(err) // it is a flag of package testing
	}
	code := m.Run()
	if partial() {
		return code
	}
	if err := b.keep(p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// partial tells whether only some of the tests were asked for.
func partial() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return true
		}
	}
	return false
}

func (b *Book) keep(p Page) error {
	shown, table := b.table()
	want := []byte(p.Text(shown, len(b.cases), table))
	if p.Update {
		return os.WriteFile(p.File, want, 0o644)
	}
	if have, err := os.ReadFile(p.File); err != nil || !bytes.Equal(have, want) {
		return fmt.Errorf("%s is not what the tests show: run %s", p.File, p.Again)
	}
	return nil
}

// table has a row for each case and test, and for each case without.
func (b *Book) table() (shown int, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	byCase := map[string][]row{}
	for _, r := range b.results {
		byCase[r.id] = tally(byCase[r.id], r)
	}
	var out strings.Builder
	out.WriteString("| Case | What | With | Version | Test | Result |\n|---|---|---|---|---|---|\n")
	for _, c := range b.cases {
		rows, what := byCase[c.ID], c.What
		slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.with.Name+"\x00"+a.test, b.with.Name+"\x00"+b.test) })
		if len(rows) == 0 {
			why := "not shown"
			if c.Later != "" {
				why += ": " + c.Later
			}
			fmt.Fprintf(&out, "| %s | %s | | | | %s |\n", c.ID, what, why)
		} else if !slices.ContainsFunc(rows, func(r row) bool { return r.failed > 0 }) {
			shown++
		}
		for _, r := range rows {
			fmt.Fprintf(&out, "| %s | %s | %s | %s | `%s` | %s |\n", c.ID, what, r.with.Name, r.with.Version, strings.ReplaceAll(r.test, "|", "¦"), r.outcome())
			what = ""
		}
	}
	return shown, out.String()
}

// row is one of the table: a test, or all that belong to one.
type row struct {
	with           With
	test           string
	passed, failed int
}

func tally(rows []row, r result) []row {
	test := r.test
	if r.with.Version == "" {
		test, _, _ = strings.Cut(test, "/")
	}
	i := slices.IndexFunc(rows, func(o row) bool { return o.with == r.with && o.test == test })
	if i < 0 {
		i, rows = len(rows), append(rows, row{with: r.with, test: test})
	}
	if r.passed {
		rows[i].passed++
	} else {
		rows[i].failed++
	}
	return rows
}

func (r row) outcome() string {
	switch n := r.passed + r.failed; {
	case r.failed > 0 && n > 1:
		return fmt.Sprintf("**fails** (%d of %d)", r.failed, n)
	case r.failed > 0:
		return "**fails**"
	case n > 1:
		return fmt.Sprintf("passes (%d)", n)
	default:
		return "passes"
	}
}
