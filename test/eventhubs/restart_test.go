package eventhubs

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

// TestKilledUnderLoad: the program is killed while SDKs send and receive. They go on without being told to; what was acknowledged is there,
// each event of a partition came once and in its order, and what a producer sent again stands right behind.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, err := processes.Build(t.Context(), dir, "isthmus")
	if err != nil {
		t.Fatal(err)
	}
	address := ownAddress()
	d := processes.New(dir, program)
	t.Cleanup(d.Stop)
	data := filepath.Join(dir, "data")
	p, err := d.Start("hub", "", nil, "hub", "dev", "--data-dir", data, "--mqtt", address+":8883", "--https", address+":8443", "--amqp", address+":5671",
		"--host", "contoso.azure-devices.net", "--provisioning-host", "", "--event-hubs-host", address, "--event-hubs-plain", "", "--event-hub", "telemetry")
	if err != nil {
		t.Fatal(err)
	}
	line, err := p.WaitLog(within(t), "Event hub telemetry")
	if err != nil {
		t.Fatal(err)
	}
	connection := line[strings.Index(line, "Endpoint="):]
	ca := filepath.Join(data, "ca.pem")
	workers := map[string]*worker{}
	for i, s := range both {
		covers(t, "EH25", s.with)
		workers[s.name] = work(t, s, strconv.Itoa(i), m{"connection": connection, "ca": ca, "retries": 1000, "retryDelay": 100, "timeout": 2000}, ca) // which Node.js waits for what will not come
	}
	rounds, each := 2, int64(100)
	if soaking() {
		rounds, each = 20, 1000
	}
	for range rounds {
		for _, k := range workers {
			k.untilMore(each)
		}
		p.Kill()
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.WaitLog(within(t), "Event hub telemetry"); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range workers {
		k.untilMore(each)
		k.check()
	}
}

// worker is an SDK that sends to a partition and reads it.
type worker struct {
	*driver
	partition string
}

func work(t *testing.T, s sdk, partition string, with m, ca string) *worker {
	t.Helper()
	k := &worker{s.start(t, "NODE_EXTRA_CA_CERTS="+ca, "NODE_NO_WARNINGS=1"), partition}
	k.must("open", with, m{"client": "p", "kind": "producer"})
	k.must("open", with, m{"client": "c", "kind": "consumer"})
	k.must("read", m{"client": "c", "reader": "r", "partition": partition, "position": m{"earliest": true}, "brief": true})
	k.must("load", m{"client": "p", "partition": partition, "prefix": "n"})
	return k
}

// untilMore waits until so many more events were acknowledged.
func (k *worker) untilMore(count int64) {
	k.t.Helper()
	want := k.must("loaded", m{"client": "p"}).number("count") + count
	for end := time.Now().Add(2 * patience); ; time.Sleep(20 * time.Millisecond) { // there is nobody to tell
		have := k.must("loaded", m{"client": "p"}).number("count")
		if have >= want {
			return
		}
		if time.Now().After(end) {
			k.t.Fatalf("%s: %d events were acknowledged, want %d", k.sdk.name, have, want)
		}
	}
}

// check ends the load and looks at what the reader got.
func (k *worker) check() {
	k.t.Helper()
	a := k.must("rest", m{"client": "p"})
	acknowledged := a.number("count")
	sequence, number := int64(-1), int64(-1)
	for number < acknowledged-1 {
		got := k.must("receive", m{"reader": "r", "partition": k.partition, "count": 1000, "wait": 2000, "brief": true})
		if len(got.events()) == 0 && len(got.errs()) == 0 {
			k.t.Fatalf("%s: it reads no further than %d of %d", k.sdk.name, number, acknowledged)
		}
		for _, e := range got.events() {
			if e.number("sequence") != sequence+1 {
				k.t.Fatalf("%s: sequence number %d comes after %d", k.sdk.name, e.number("sequence"), sequence)
			}
			sequence++
			n, err := strconv.ParseInt(strings.TrimPrefix(e.text("body"), "n"), 10, 64)
			if err != nil || n != number && n != number+1 {
				k.t.Fatalf("%s: event %d comes after %d", k.sdk.name, n, number)
			}
			number = n
		}
	}
	k.t.Log(fmt.Sprint(k.sdk.name, ": ", acknowledged, " acknowledged, ", sequence+1, " stored, ", a.number("failures"), " failures"))
}
