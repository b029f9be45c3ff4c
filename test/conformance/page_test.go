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
	var b bytes.Buffer
	b.WriteString(`# Compatibility

What the unmodified SDKs of Azure do against this hub and this provisioning service. The tests in ` + "`test/conformance`" + ` run them in Node.js, on the ports they
dial, and write this page with ` + "`go test ./test/conformance -update`" + `; it is wrong, and they fail, when it does not say what they show. What differs from
Azure is in [azure-divergences.md](azure-divergences.md).

| Case | What | With | Version | Test | Result |
|---|---|---|---|---|---|
`)
	byCase := map[string][]result{}
	for _, r := range results {
		byCase[r.id] = append(byCase[r.id], r)
	}
	for _, c := range cases {
		list := byCase[c.id]
		slices.SortFunc(list, func(a, b result) int { return strings.Compare(a.with+"\x00"+a.test, b.with+"\x00"+b.test) })
		list = slices.Compact(list)
		if len(list) == 0 {
			why := "not shown"
			if c.later != "" {
				why += ": " + c.later
			}
			fmt.Fprintf(&b, "| %s | %s | | | | %s |\n", c.id, c.what, why)
		}
		for _, r := range list {
			outcome := "passes"
			if !r.passed {
				outcome = "**fails**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | `%s` | %s |\n", c.id, c.what, r.with, r.version, strings.ReplaceAll(r.test, "|", "¦"), outcome)
		}
	}
	return b.Bytes()
}
