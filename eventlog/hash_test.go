package eventlog_test

import (
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/isthmus-io/isthmus/eventlog"
)

// The published numbers: they may never change, or a device's events change their partition.
func TestHashIsTheOneWePublish(t *testing.T) {
	for key, want := range map[string]uint32{
		"":         0xcbf29ce4 ^ 0x84222325,
		"a":        0xaf63dc4c ^ 0x8601ec8c, // FNV-1a 64 of "a" is af63dc4c8601ec8c
		"foobar":   0x85944171 ^ 0xf73967e8, // and of "foobar" 85944171f73967e8
		"press-4":  fold("press-4"),
		"дев/№-10": fold("дев/№-10"),
	} {
		if got := eventlog.FNV(key); got != want {
			t.Errorf("FNV(%q) = %#x, want %#x", key, got, want)
		}
	}
}

func TestHashSpreadsDevices(t *testing.T) {
	var count [4]int
	for i := range 4000 {
		count[eventlog.FNV(fmt.Sprintf("sensor-%04d", i))%4]++
	}
	for p, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("partition %d gets %d of 4000 devices", p, n)
		}
	}
}

// fold is the hash over the standard library's FNV.
func fold(key string) uint32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return uint32(h.Sum64()>>32) ^ uint32(h.Sum64())
}
