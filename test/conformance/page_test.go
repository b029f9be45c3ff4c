package conformance

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/isthmus-io/isthmus/test/casebook"
)

var update = flag.Bool("update", false, "write docs/compatibility.md from what the tests show")

// TestMain keeps docs/compatibility.md as the tests show it: when all of them ran, it has to be what they make, or is written with -update.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(book.Main(m, 8, casebook.Page{ // what runs beside each other waits most of the time
		File: "../../docs/compatibility.md", Update: *update, Again: "go test ./test/conformance -update", Text: compatibility,
	}))
}

// compatibility is the text of the page.
func compatibility(shown, all int, table string) string {
	return fmt.Sprintf(`# Compatibility

What the unmodified SDKs of Azure do against this hub and this provisioning service. The tests in `+"`test/conformance`"+` run them in Node.js, on the ports they
dial, and write this page with `+"`go test ./test/conformance -update`"+`; it is wrong, and they fail, when it does not say what they show. "raw" is a client of the
tests' own that says what no SDK lets one say. What differs from Azure is in [azure-divergences.md](azure-divergences.md).

%d of %d cases are shown.

%s`, shown, all, table)
}
