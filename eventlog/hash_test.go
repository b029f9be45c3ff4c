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

// The vectors are the clients' own, as signed numbers.
func TestLookup3IsTheClientsHash(t *testing.T) {
	for key, want := range map[string]int32{"": 0, "a": -16220, "pk1": 13741, "device-1": 26788, "abcdefghijklm": -31855} {
		if got := eventlog.Lookup3(key); got != uint32(max(want, -want)) {
			t.Errorf("Lookup3(%q) = %d, want %d", key, got, want)
		}
	}
	// lookup3's own test vector has 30 bytes and, with both seeds 0, c = 0x17770551 and b = 0xce7226e6.
	c, b := uint32(0x17770551), uint32(0xce7226e6)
	h := int32(int16(c ^ b))
	if got := eventlog.Lookup3("Four score and seven years ago"); got != uint32(max(h, -h)) {
		t.Errorf("Lookup3 of its author's example = %d, want %d", got, h)
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
