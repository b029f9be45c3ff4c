package parity

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT1H": time.Hour, "P1D": 24 * time.Hour, "P1DT2H3M4S": 26*time.Hour + 3*time.Minute + 4*time.Second, "PT0.5S": time.Second / 2, "PT90M": 90 * time.Minute,
	} {
		if got, err := duration(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "P", "PT", "1H", "PT1", "P1H", "PT1D", "P1M", "PT-1H", "PT1.2.3S", "PT9999999999999H", "P9999999D", "PTH", "PT1HX", "PT1H\x00"} {
		if got, err := duration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"PT1H", "P1DT2H3M4.5S", "P", "PT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := duration(s); err == nil && d < 0 {
			t.Errorf("%q is %v", s, d)
		}
	})
}
