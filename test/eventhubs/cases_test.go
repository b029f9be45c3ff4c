package eventhubs

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/test/casebook"
)

// book has what a namespace has to do for clients of Event Hubs.
var book = casebook.New([]casebook.Case{
	{ID: "EH01", What: "SASL ANONYMOUS over TCP, TLS and WebSockets of both subprotocols; also without SASL"},
	{ID: "EH02", What: "`UseDevelopmentEmulator=true` on a port of our choice, plain TCP"},
	{ID: "EH03", What: "TLS with a private authority, by custom endpoint"},
	{ID: "EH04", What: "A client that is idle for 150 s sends again without connecting again"},
	{ID: "EH05", What: "A client's silence for the idle timeout ends with `amqp:connection:forced`"},
	{ID: "EH06", What: "A good token is answered with 202, wherever the client wants its answers"},
	{ID: "EH07", What: "Bad signature, expired, unknown policy: 401 with Azure's texts"},
	{ID: "EH08", What: "A key that may only listen attaches no sender, one that may only send no receiver; literal texts"},
	{ID: "EH09", What: "`sr` in lower case, tokens for the namespace, ready-made tokens, JWT"},
	{ID: "EH10", What: "A claim that lapses detaches its links; renewing it keeps them"},
	{ID: "EH11", What: "Properties of event hubs and partitions, with Azure's types; unknown ones"},
	{ID: "EH12", What: "Credit within 100 ms of an attach, and always enough for 10,000 sends"},
	{ID: "EH13", What: "Batches of 1, 2 and 500 events become that many, in order, with consecutive sequence numbers"},
	{ID: "EH14", What: "Events of 1,040,000 bytes through frames of 65,536 and 8,192 bytes, both ways; 2 MB are refused"},
	{ID: "EH15", What: "Bodies of every kind, all properties and all types of application properties come back as they were"},
	{ID: "EH16", What: "Partition by link, by the published hash of the key, or in turn; the key comes back"},
	{ID: "EH17", What: "Positions: first, latest, offset and sequence number, with and without themselves, time; beyond the end is refused"},
	{ID: "EH18", What: "Deliveries are settled: prefetch of 10 reads 1,000 events, and none does too"},
	{ID: "EH19", What: "Credit that grows without bound does not grow our memory"},
	{ID: "EH20", What: "An equal or higher epoch takes over, a lower one or none is refused; exact texts; five readers without"},
	{ID: "EH21", What: "Who has the epoch does not notice those who are refused; it is free when his connection dies"},
	{ID: "EH22", What: "What is known of the end of the partition comes with events only when asked for"},
	{ID: "EH23", What: "Idempotent producers: ids are given, what is sent again is stored once, gaps and old epochs are refused"},
	{ID: "EH24", What: "Each error condition is the error of the SDKs that Azure's would be"},
	{ID: "EH25", What: "kill -9 under load: clients go on by sequence number, nothing acknowledged is lost, nothing is out of order"},
	{ID: "EH26", What: "A hub's built-in endpoint is found by redirect, and read; device events with every annotation"},
	{ID: "EH27", What: "Two processors of a group share the partitions, with checkpoints in blobs"},
	{ID: "EH28", What: "Cut, oversize, nested and untimely frames end in an error or the end of the connection"},
})

// covers says that a test, or a subtest, is a proof of a case with these.
func covers(t *testing.T, id string, with ...casebook.With) {
	t.Helper()
	book.Covers(t, id, with...)
}

// What cases are shown with.
var (
	withRaw    = casebook.With{Name: "raw AMQP"}
	microsoft  = casebook.With{Name: "azeventhubs' own live tests", Version: "2.0.2"}
	withProton = casebook.With{Name: "Debian's python3-qpid-proton"}
)

// npm is a package of package-lock.json.
func npm(name string) casebook.With {
	w, err := casebook.Package(name)
	if err != nil {
		panic(err) // the page needs its version
	}
	return w
}

var update = flag.Bool("update", false, "write docs/compatibility-event-hubs.md from what the tests show")

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "eventhubs-")
	if err != nil {
		panic(err)
	}
	built.dir = dir
	code := book.Main(m, 8, casebook.Page{ // what runs beside each other waits most of the time
		File: "../../docs/compatibility-event-hubs.md", Update: *update, Again: "go test ./test/eventhubs -update", Text: pageText,
	})
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func pageText(shown, all int, table string) string {
	return fmt.Sprintf(`# Compatibility with Event Hubs

What unmodified clients of Event Hubs do against a namespace of Isthmus and a hub's built-in endpoint. The tests in `+"`test/eventhubs`"+` run them and write this
page with `+"`go test ./test/eventhubs -update`"+`; it is wrong, and they fail, when it does not say what they show. "raw" says frame by frame what no client lets one
say. The SDKs of IoT Hub are in [compatibility.md](compatibility.md), what differs from Azure is in [azure-divergences.md](azure-divergences.md).

%d of %d cases are shown.

%s
%s`, shown, all, table, liveText())
}

// built are the programs of the module go, each made once, when somebody wants it.
var built struct {
	dir  string
	mu   sync.Mutex // guards done; held while one is built, as go build has all processors anyway
	done map[string]error
}

// build returns the path of a program of the module go: what `go <args> -o <path> <pkg>` makes.
func build(t *testing.T, name, pkg string, args ...string) string {
	t.Helper()
	path := built.dir + "/" + name
	built.mu.Lock()
	defer built.mu.Unlock()
	err, known := built.done[name]
	if !known {
		c := exec.Command("go", append(args, "-o", path, pkg)...)
		c.Dir, c.Env = "go", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off")
		if out, failed := c.CombinedOutput(); failed != nil {
			err = fmt.Errorf("go %s: %w: %s", strings.Join(c.Args[1:], " "), failed, out)
		}
		if built.done == nil {
			built.done = map[string]error{}
		}
		built.done[name] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
