package conformance

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/compatibility.md from what the tests show")

const page = "../../docs/compatibility.md"

// TestMain keeps docs/compatibility.md as the tests show it: when all of them ran, it has to be what they make, or is written with -update.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // what runs beside each other waits most of the time
		panic(err)
	}
	code := m.Run()
	if !partial() {
		if err := keepPage(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
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

func keepPage() error {
	want := compatibility()
	if *update {
		return os.WriteFile(page, want, 0o644)
	}
	if have, err := os.ReadFile(page); err != nil || !bytes.Equal(have, want) {
		return errors.New("docs/compatibility.md is not what the tests show: run go test ./test/conformance -update")
	}
	return nil
}

// compatibility is the text of the page.
func compatibility() []byte {
	byCase := map[string][]row{}
	for _, r := range results {
		byCase[r.id] = tally(byCase[r.id], r)
	}
	var table bytes.Buffer
	shown := 0
	for _, c := range cases {
		rows, what := byCase[c.id], c.what
		slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.with+"\x00"+a.test, b.with+"\x00"+b.test) })
		if len(rows) == 0 {
			why := "not shown"
			if c.later != "" {
				why += ": " + c.later
			}
			fmt.Fprintf(&table, "| %s | %s | | | | %s |\n", c.id, what, why)
		} else if !slices.ContainsFunc(rows, func(r row) bool { return r.failed > 0 }) {
			shown++
		}
		for _, r := range rows {
			fmt.Fprintf(&table, "| %s | %s | %s | %s | `%s` | %s |\n", c.id, what, r.with, r.version, strings.ReplaceAll(r.test, "|", "¦"), r.outcome())
			what = ""
		}
	}
	return fmt.Appendf(nil, `# Compatibility

What the unmodified SDKs of Azure do against this hub and this provisioning service. The tests in `+"`test/conformance`"+` run them in Node.js, on the ports they
dial, and write this page with `+"`go test ./test/conformance -update`"+`; it is wrong, and they fail, when it does not say what they show. "raw" is a client of the
tests' own that says what no SDK lets one say. What differs from Azure is in [azure-divergences.md](azure-divergences.md).

%d of %d cases are shown. Of those that name AMQP it is what the other protocols do.

| Case | What | With | Version | Test | Result |
|---|---|---|---|---|---|
%s`, shown, len(cases), table.Bytes())
}

// row is one of the table: a test, or for what is no package, all that belong to one.
type row struct {
	with, version, test string
	passed, failed      int
}

func tally(rows []row, r result) []row {
	test := r.test
	if strings.Contains(r.with, " ") {
		test, _, _ = strings.Cut(test, "/")
	}
	i := slices.IndexFunc(rows, func(o row) bool { return o.with == r.with && o.test == test })
	if i < 0 {
		i, rows = len(rows), append(rows, row{r.with, r.version, test, 0, 0})
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
