package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

func TestLengthsOfTime(t *testing.T) {
	for text, want := range map[string]time.Duration{"30m": 30 * time.Minute, "2h": 2 * time.Hour, "1h30m": 90 * time.Minute, "3d": 72 * time.Hour, "1.5d": 36 * time.Hour} {
		var l long
		if err := l.Set(text); err != nil || time.Duration(l) != want {
			t.Errorf("%s is %s, %v", text, time.Duration(l), err)
		}
	}
	for _, text := range []string{"", "d", "3", "-2h", "0s", "soon", "3dd", "1d2h", "99999999h", "9999999d"} {
		var l long
		if err := l.Set(text); err == nil {
			t.Errorf("%q is %s", text, time.Duration(l))
		}
	}
	for d, want := range map[time.Duration]string{72 * time.Hour: "3d", 24 * time.Hour: "24h", 2 * time.Hour: "2h", 90 * time.Minute: "1h30m", 10 * time.Second: "10s"} {
		if got := shortSpan(d); got != want {
			t.Errorf("%s is shown as %s, want %s", d, got, want)
		}
	}
}

func TestMomentsAreRead(t *testing.T) {
	here := time.FixedZone("here", 3600)
	now := time.Date(2026, 11, 23, 14, 30, 20, 0, here)
	for text, want := range map[string]time.Time{
		"":                     {},
		"15:00":                time.Date(2026, 11, 23, 15, 0, 0, 0, here),
		"14:30":                time.Date(2026, 11, 23, 14, 30, 0, 0, here), // this minute is not over
		"14:29":                time.Date(2026, 11, 24, 14, 29, 0, 0, here), // tomorrow's
		"2026-12-01T08:00":     time.Date(2026, 12, 1, 8, 0, 0, 0, here),
		"2026-12-01T08:00:00Z": time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC),
	} {
		if got, err := parseFrom(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s, want %s, %v", text, got, want, err)
		}
	}
	for _, text := range []string{"noon", "25:00", "2026-12-01", "1"} {
		if got, err := parseFrom(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestHoursAreRead(t *testing.T) {
	for text, want := range map[string]resource.WorkingHours{
		"Mon-Fri 08:00-17:00 Europe/Berlin": {Days: []string{"Mon", "Tue", "Wed", "Thu", "Fri"}, From: "08:00", To: "17:00", TimeZone: "Europe/Berlin"},
		"Sat-Mon,Wed 22:00-06:00 UTC":       {Days: []string{"Sat", "Sun", "Mon", "Wed"}, From: "22:00", To: "06:00", TimeZone: "UTC"},
		"Sun 00:00-24:00 UTC":               {Days: []string{"Sun"}, From: "00:00", To: "24:00", TimeZone: "UTC"},
	} {
		if got, err := parseHours(text); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"weekdays", "Mon 08:00 UTC", "Mon 08:00-17:00", "Moon 08:00-17:00 UTC", "Mon,Mon 08:00-17:00 UTC", "Mon 17:00-17:00 UTC", "Mon 08:00-17:00 Nowhere/Land", strings.Repeat("Mon,", 5) + "Mon 08:00-17:00 UTC"} {
		if got, err := parseHours(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
	if got, err := parseHours(""); got != nil || err != nil {
		t.Error(got, err)
	}
}

func TestBytesInWords(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1234: "1.2 kB", 999_949: "999.9 kB", 999_960: "1.0 MB", 104_857_600: "104.9 MB", 5_000_000_000_000: "5.0 TB"} {
		if got := byteWords(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
