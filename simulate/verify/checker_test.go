package verify_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/simulate/verify"
)

// check compares one device's numbers, as they come, with what it sent.
func check(s verify.Sent, numbers ...uint64) *verify.Report {
	c := verify.NewChecker()
	s.Device = "d"
	for _, n := range numbers {
		c.See("d", n)
	}
	return c.Finish([]verify.Sent{s})
}

func TestReports(t *testing.T) {
	five := verify.Sent{Acknowledged: 5, Attempted: 5}
	cut := verify.Sent{Acknowledged: 4, Attempted: 5, Repeated: map[uint64]uint32{2: 1, 5: 2}}
	for name, c := range map[string]struct {
		sent    verify.Sent
		numbers []uint64
		want    verify.Report // First is what the first offence holds
	}{
		"all":                      {five, []uint64{1, 2, 3, 4, 5}, verify.Report{Sent: 5, Received: 5}},
		"nothing sent":             {verify.Sent{}, nil, verify.Report{}},
		"nothing there":            {five, nil, verify.Report{Sent: 5, Lost: 5, First: []string{"d: messages 1 to 5 are lost"}}},
		"one lost":                 {five, []uint64{1, 2, 4, 5}, verify.Report{Sent: 5, Received: 4, Lost: 1, First: []string{"d: message 3 is lost"}}},
		"the end lost":             {five, []uint64{1, 2}, verify.Report{Sent: 5, Received: 2, Lost: 3, First: []string{"d: messages 3 to 5 are lost"}}},
		"the beginning lost":       {five, []uint64{3, 4, 5}, verify.Report{Sent: 5, Received: 3, Lost: 2, First: []string{"d: messages 1 to 2 are lost"}}},
		"reordered":                {five, []uint64{1, 4, 3, 2, 5}, verify.Report{Sent: 5, Received: 5, Reordered: 2, First: []string{"d: message 3 came after message 4"}}},
		"duplicated":               {five, []uint64{1, 2, 2, 3, 4, 5, 1}, verify.Report{Sent: 5, Received: 5, Duplicated: 2, First: []string{" times and was sent 1 times"}}},
		"repeated":                 {cut, []uint64{1, 2, 2, 3, 4, 5, 5}, verify.Report{Sent: 4, Received: 5, Repeated: 2, Unacknowledged: 1}},
		"repeated too often":       {cut, []uint64{1, 2, 2, 2, 3, 4}, verify.Report{Sent: 4, Received: 4, Repeated: 1, Duplicated: 1, First: []string{"message 2 is there 3 times and was sent 2 times"}}},
		"a gap and a late copy":    {cut, []uint64{1, 3, 4, 2, 2}, verify.Report{Sent: 4, Received: 4, Reordered: 1, Repeated: 1, First: []string{"message 2 came after message 4"}}},
		"more than was sent":       {five, []uint64{1, 2, 3, 4, 5, 6, 7}, verify.Report{Sent: 5, Received: 7, Unknown: 2, First: []string{"message 7 is there, and only 5 were sent"}}},
		"an unacknowledged is not": {cut, []uint64{1, 2, 3, 4}, verify.Report{Sent: 4, Received: 4}},
		"no number":                {five, []uint64{1, 0, 2, 3, 4, 5}, verify.Report{Sent: 5, Received: 5, Unknown: 1, First: []string{"an event has no number"}}},
	} {
		got := check(c.sent, c.numbers...)
		first := strings.Join(got.First, "\n")
		for _, want := range c.want.First {
			if !strings.Contains(first, want) {
				t.Errorf("%s: %q, want %q", name, first, want)
			}
		}
		if (len(c.want.First) == 0) != got.OK() {
			t.Errorf("%s: OK is %t: %s", name, got.OK(), first)
		}
		got.First, c.want.First = nil, nil
		if fmt.Sprint(*got) != fmt.Sprint(c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, *got, c.want)
		}
	}
}

func TestDevicesNobodySimulated(t *testing.T) {
	c := verify.NewChecker()
	c.See("ghost", 2)
	c.See("ghost", 2)
	if r := c.Finish(nil); r.OK() || r.Unknown != 2 || len(r.First) != 1 {
		t.Errorf("%+v", r)
	}
}

// The slow twin keeps every number.
func TestAgainstASlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		acknowledged := rapid.Uint64Range(0, 12).Draw(t, "acknowledged")
		s := verify.Sent{Acknowledged: acknowledged, Attempted: acknowledged + rapid.Uint64Range(0, 1).Draw(t, "more"), Repeated: map[uint64]uint32{}}
		for _, n := range rapid.SliceOfN(rapid.Uint64Range(1, 12), 0, 4).Draw(t, "repeated") {
			s.Repeated[n]++
		}
		numbers := rapid.SliceOfN(rapid.Uint64Range(1, 14), 0, 30).Draw(t, "numbers")
		seen, highest := map[uint64]uint32{}, uint64(0)
		var want verify.Report
		for _, n := range numbers {
			if seen[n] == 0 && n < highest {
				want.Reordered++
			}
			seen[n]++
			highest = max(highest, n)
		}
		want.Sent = acknowledged
		for n := uint64(1); n <= 14; n++ {
			switch k := seen[n]; {
			case k == 0 && n <= acknowledged:
				want.Lost++
			case k > 0:
				want.Received++
				meant := min(k-1, s.Repeated[n])
				want.Repeated += uint64(meant)
				want.Duplicated += uint64(k - 1 - meant)
			}
		}
		got := check(s, numbers...)
		if highest > s.Attempted {
			want.Unknown = highest - s.Attempted // gaps among them too: it is an alarm, not a count
		}
		got.First, got.Unacknowledged = nil, 0
		if fmt.Sprint(*got) != fmt.Sprint(want) {
			t.Fatalf("%v of %+v:\n got %+v\nwant %+v", numbers, s, *got, want)
		}
	})
}

// stored are events a hub holds.
type stored []hubclient.Event

func (s stored) End(context.Context) (string, error) { return "0:0", nil }

func (s stored) Events(_ context.Context, q hubclient.Query, each func(hubclient.Event) error) error {
	for _, e := range s {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func TestOnlyThisRunCounts(t *testing.T) {
	event := func(run, number string) hubclient.Event {
		return hubclient.Event{
			Properties: map[string]string{verify.RunProperty: run, verify.NumberProperty: number}, System: map[string]string{"iothub-connection-device-id": "d"},
		}
	}
	r, err := verify.Run(t.Context(), stored{event("r", "1"), event("other", "1"), {}, event("r", "2")}, "", "r", []verify.Sent{{Device: "d", Acknowledged: 2, Attempted: 2}}, nil)
	if err != nil || !r.OK() || r.Received != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}
