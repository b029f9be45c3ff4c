package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	origins "github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/test/processes"
)

// TestBridge is the cross-tenant design under load: nothing crosses before both have said yes, an approval withdrawn stops it, fifty kills at
// random lose nothing, every second copy is marked, and the aggregates are those of the same events counted slowly.
func TestBridge(t *testing.T) {
	kills := 50
	if os.Getenv("ISTHMUS_SOAK") != "" {
		kills = 500
	}
	c := startCrossing(t, "isthb")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute+time.Duration(kills)*2*time.Second)
	defer cancel()
	stop, acked := c.sensors(ctx, 4, 10)
	enough := func(n int) {
		t.Helper()
		from, _ := acked()
		must(t, processes.Until(ctx, func() error {
			if all, _ := acked(); all < from+n {
				return fmt.Errorf("%d of %d", all-from, n)
			}
			return nil
		}))
	}

	// Before both have said yes.
	enough(100)
	if s := c.status(ctx, "ot/ot-cloud/telemetry"); s.State != "Waiting" || s.Sent != 0 {
		t.Errorf("before anybody approved, the bridge is %+v", s)
	}
	c.cli(ctx, "endpoint", "approve", "ot/ot-cloud/lake", "--reason", "the figure")
	enough(100)
	if s := c.status(ctx, "ot/ot-cloud/telemetry"); s.State != "Waiting" || s.Sent != 0 || s.Step != "contract" {
		t.Errorf("without a contract, the bridge is %+v", s)
	}
	c.cli(ctx, "contract", "accept", "ot/telemetry", "--reason", "the figure")
	live, lines := c.script("itcloud", nil, "bridge_read.js", c.lakeFile, "telemetry", "people")
	count := func() int { return len(c.parse(lines())) }
	moves := func(what string, n int) {
		t.Helper()
		from, began := count(), time.Now()
		must(t, processes.Until(ctx, func() error {
			if now := count(); now < from+n {
				return fmt.Errorf("%s: %d of %d have crossed; %+v", what, now-from, n, c.status(ctx, "ot/ot-cloud/telemetry"))
			}
			return nil
		}))
		t.Logf("%s: %d more have crossed after %v", what, n, time.Since(began).Round(10*time.Millisecond))
	}
	moves("both have said yes", 300)

	// An approval withdrawn stops it within a second, and the backlog waits.
	c.cli(ctx, "endpoint", "reject", "ot/ot-cloud/lake", "--reason", "who knows")
	<-time.After(time.Second) //nolint:forbidigo // the promise is a second
	stood := count()
	enough(300)
	if now := count(); now > stood {
		t.Errorf("%d events crossed more than a second after the approval was withdrawn", now-stood)
	}
	c.cli(ctx, "endpoint", "approve", "ot/ot-cloud/lake", "--reason", "after all")
	moves("approved again", 300)
	live()

	c.storm(ctx, kills, enough)
	stop()
	sent, good := acked()
	t.Logf("%d readings acknowledged, %d of them within the contract", sent, good)
	c.judge(ctx, good)
}

// storm kills one process after the other, at random, and starts it again.
func (c *crossing) storm(ctx context.Context, kills int, enough func(int)) {
	c.t.Helper()
	victims := []string{"bridge-ot", "bridge-it", "agent-otcloud", "agent-itcloud", "agent-plant7", "relay", "hub-ot", "hub-it", "bridge-ot", "bridge-it"}
	count := map[string]int{}
	began := time.Now()
	for range kills {
		v := victims[rand.IntN(len(victims))]
		count[v]++
		c.roles[v].Kill()
		must(c.t, c.roles[v].Restart())
		<-time.After(time.Duration(200+rand.IntN(1200)) * time.Millisecond) //nolint:forbidigo // kills at random moments
	}
	c.t.Logf("%d kills in %v: %v", kills, time.Since(began).Round(time.Second), count)
	enough(200)
}

// judge holds the far end against the source, and the aggregates against the far end.
func (c *crossing) judge(ctx context.Context, good int) {
	t := c.t
	t.Helper()
	must(t, processes.Until(ctx, func() error {
		if s := c.status(ctx, "ot/ot-cloud/telemetry"); s.Lag > 0 || s.State != "Running" {
			return fmt.Errorf("the bridge is %+v", s)
		}
		return nil
	}))
	source := c.source(ctx)
	far := c.far(ctx, good)
	copies, marked := map[string]int{}, 0
	last := map[string]origins.Origin{} // by partition of the far end and of the source: of first copies
	var once []arrived
	slices.SortStableFunc(far, func(a, b arrived) int {
		if a.Partition != b.Partition {
			return strings.Compare(a.Partition, b.Partition)
		}
		return int(a.Sequence - b.Sequence)
	})
	for _, a := range far {
		_, o, ok := origins.ParseID(a.origin())
		if !ok {
			t.Fatalf("an event without an origin: %+v", a)
		}
		if a.repeat() {
			marked++
		}
		key := fmt.Sprintf("%s/%d", o.Partition, o.Sequence)
		copies[key]++
		if copies[key] > 1 {
			if !a.repeat() {
				t.Errorf("the second copy of %s is not marked", key)
			}
			continue
		}
		once = append(once, a)
		lane := a.Partition + "<" + o.Partition
		if before, known := last[lane]; known && o.Sequence <= before.Sequence {
			t.Errorf("%s came after %d: order is lost", key, before.Sequence)
		}
		last[lane] = o
	}
	gaps := 0
	for key, crosses := range source {
		if crosses && copies[key] == 0 {
			gaps++
			t.Errorf("%s is in the source and has not crossed", key)
		}
		if !crosses && copies[key] > 0 {
			t.Errorf("%s breaks the contract and has crossed", key)
		}
	}
	t.Logf("%d events in the source, %d at the far end: gaps %d, second copies %d, marked %d", len(source), len(far), gaps, len(far)-len(once), marked)
	c.noCanary(far)
	c.deadLetters(ctx)
	c.compare(ctx, once)
}

// deadLetters looks at what broke the contract through the socket of the bridge's process, and has one sent again: it is dead again, with the
// same reason.
func (c *crossing) deadLetters(ctx context.Context) {
	t := c.t
	t.Helper()
	ask := func(args ...string) string {
		out, err := c.CLI(ctx, c.sites.Name("otcloud"), "", append([]string{"bridge", "dead-letters"}, args...)...)
		must(t, err)
		return out
	}
	dir, name := c.Data("bridge-ot"), "ot/ot-cloud/telemetry"
	before := c.status(ctx, name).Dead
	if list := ask("list", name, "--data-dir", dir); !strings.Contains(list, "contract") || !strings.Contains(list, "celsius") {
		t.Errorf("the dead letters are %s", list)
	}
	ask("replay", name, "--data-dir", dir, "--all")
	must(t, processes.Until(ctx, func() error {
		if now := c.status(ctx, name).Dead; now <= before {
			return fmt.Errorf("%d were dead before the replay, %d after", before, now)
		}
		return nil
	}))
}

// source is what the hub has, by partition and sequence: whether it is within the contract.
func (c *crossing) source(ctx context.Context) map[string]bool {
	out := map[string]bool{}
	for _, e := range c.eventsOf(ctx, "hub-ot") {
		out[fmt.Sprintf("%d/%d", e.Partition, e.Sequence)] = !strings.Contains(e.decoded(), `"celsius":9000`)
	}
	return out
}

// noCanary looks for what the contract does not name: in what the SDK shows, in every file of the office's processes, in what they log. The
// plant's side has it, or this would show nothing.
func (c *crossing) noCanary(far []arrived) {
	t := c.t
	t.Helper()
	for _, a := range far {
		if strings.Contains(a.All, canary) || strings.Contains(a.All, "press-") {
			t.Fatalf("the far end shows %s", a.All)
		}
	}
	has := func(role string) (found []string) {
		must(t, filepath.WalkDir(c.Data(role), func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // a file that has gone meanwhile
			}
			if text, err := os.ReadFile(name); err == nil && bytes.Contains(text, []byte(canary)) {
				found = append(found, name)
			}
			return nil
		}))
		if strings.Contains(c.roles[role].Log(), canary) {
			found = append(found, "the log of "+role)
		}
		return found
	}
	for _, role := range []string{"hub-it", "bridge-it", "agent-itcloud"} {
		if found := has(role); len(found) > 0 {
			t.Errorf("what the contract does not name is in %v", found)
		}
	}
	if len(has("hub-ot")) == 0 || len(has("bridge-ot")) == 0 { // the log, and the dead letters
		t.Error("the canary is not in the source: the search shows nothing")
	}
}

// compare computes the aggregates slowly and exactly, by the rules of the window, and waits until the files say the same. A reading that a device
// sent again after the hub was killed may be late, which is for its own partition to say.
func (c *crossing) compare(ctx context.Context, once []arrived) {
	t := c.t
	t.Helper()
	type key struct {
		start   int64
		machine string
	}
	values := map[key][]float64{}
	latest, late := map[string]time.Time{}, int64(0)
	for _, a := range once {
		at, err := time.Parse(time.RFC3339, a.Body.At)
		must(t, err)
		k := key{at.Unix() / 10 * 10, a.Body.Machine}
		if seen := latest[a.Partition]; !time.Unix(k.start+10, 0).After(seen.Add(-windowLateness)) {
			late++
			continue
		}
		if at.After(latest[a.Partition]) {
			latest[a.Partition] = at
		}
		values[k] = append(values[k], a.Body.Celsius)
	}
	var got map[key]row
	must(t, processes.Until(ctx, func() error {
		got = map[key]row{}
		for name, rows := range c.blobs(ctx) {
			for _, r := range rows {
				k := key{r.Start.Unix(), r.Machine}
				if other, twice := got[k]; twice {
					t.Fatalf("two rows for %+v: %+v and %+v (%s)", k, other, r, name)
				}
				got[k] = r
			}
		}
		if len(got) < len(values) {
			return fmt.Errorf("%d rows of %d are there; %+v", len(got), len(values), c.status(ctx, "it/it-cloud/aggregates"))
		}
		return nil
	}))
	for k, list := range values {
		slices.Sort(list)
		sum := new(big.Rat)
		for _, v := range list {
			sum.Add(sum, new(big.Rat).SetFloat64(v))
		}
		mean, _ := sum.Quo(sum, big.NewRat(int64(len(list)), 1)).Float64()
		rank := int(math.Ceil(0.95*float64(len(list)))) - 1
		want := row{Readings: int64(len(list)), Mean: mean, Least: list[0], Most: list[len(list)-1], P95: list[rank]}
		r := got[k]
		if r.Readings != want.Readings || r.Least != want.Least || r.Most != want.Most || r.P95 != want.P95 || math.Abs(r.Mean-want.Mean) > 1e-12*math.Abs(want.Mean) {
			t.Errorf("%+v: %+v, counted slowly %+v", k, r, want)
		}
	}
	if len(got) != len(values) {
		t.Errorf("%d rows, %d groups", len(got), len(values))
	}
	if s := c.status(ctx, "it/it-cloud/aggregates"); s.Late != late {
		t.Errorf("%d events were late, counted slowly %d", s.Late, late)
	}
	t.Logf("%d rows of %d events, %d of them late, are what a slow count says", len(got), len(once), late)
}
