package plan_test

import (
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestGrantIsOpenFromItsBeginningUntilItsEnd(t *testing.T) {
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	hour := func(h int) time.Time { return monday.Add(time.Duration(h) * time.Hour) }
	once := plan.Grant{From: hour(8), Until: hour(10)}
	standing := plan.Grant{From: hour(0), Until: hour(24*7 + 9), Hours: &resource.WorkingHours{Days: []string{"Mon", "Tue"}, From: "08:00", To: "17:00", TimeZone: "UTC"}}
	lost := standing
	lost.Hours = &resource.WorkingHours{Days: []string{"Mon"}, From: "08:00", To: "17:00", TimeZone: "Mars/Olympus"}
	for _, c := range []struct {
		name  string
		g     plan.Grant
		at    time.Time
		until time.Time // zero: closed
	}{
		{"before", once, hour(8).Add(-1), time.Time{}}, {"at once", once, hour(8), hour(10)}, {"last moment", once, hour(10).Add(-1), hour(10)}, {"after", once, hour(10), time.Time{}},
		{"too early in the day", standing, hour(7), time.Time{}}, {"at work", standing, hour(9), hour(17)}, {"evening", standing, hour(17), time.Time{}},
		{"next day", standing, hour(24 + 9), hour(24 + 17)}, {"another day", standing, hour(48 + 9), time.Time{}},
		{"the grant ends before the day does", standing, hour(24*7 + 8), hour(24*7 + 9)}, {"after its end", standing, hour(24*7 + 9), time.Time{}},
		{"a time zone nobody knows lets nobody in", lost, hour(9), time.Time{}},
	} {
		until, ok := c.g.Open(c.at)
		if ok == c.until.IsZero() || ok && !until.Equal(c.until) {
			t.Errorf("%s: %s, %t, want %s", c.name, until, ok, c.until)
		}
	}
}
