package admission_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/resolver/admission"
)

func TestPrivateSources(t *testing.T) {
	s := admission.NewSources(admission.Private())
	for a, want := range map[string]bool{
		"127.0.0.1": true, "127.255.255.255": true, "10.7.0.4": true, "172.31.255.255": true, "192.168.1.1": true, "100.64.0.1": true, "169.254.3.4": true,
		"::1": true, "fd00::9": true, "fe80::1%eth0": true, "::ffff:10.0.0.1": true,
		"8.8.8.8": false, "172.32.0.0": false, "172.15.255.255": false, "100.128.0.0": false, "2001:db8::1": false, "::2": false, "::ffff:8.8.8.8": false, "0.0.0.0": false, "fec0::1": false,
	} {
		if got := s.Has(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
	if s.Has(netip.Addr{}) || (*admission.Sources)(nil).Has(netip.MustParseAddr("10.0.0.1")) {
		t.Error("no address, or no list")
	}
}

// A list looked through one by one says the same.
func TestSourcesAreTheUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.Custom(func(t *rapid.T) netip.Addr {
			if rapid.Bool().Draw(t, "four") {
				return netip.AddrFrom4([4]byte{10, 0, rapid.ByteRange(0, 3).Draw(t, "b"), rapid.Byte().Draw(t, "c")})
			}
			return netip.AddrFrom16([16]byte{0xfd, 15: rapid.Byte().Draw(t, "d")})
		})
		var list []netip.Prefix
		for range rapid.IntRange(0, 8).Draw(t, "prefixes") {
			a := address.Draw(t, "prefix")
			list = append(list, netip.PrefixFrom(a, rapid.IntRange(-1, a.BitLen()).Draw(t, "bits")))
		}
		s := admission.NewSources(list)
		for range 20 {
			a := address.Draw(t, "address")
			want := false
			for _, p := range list {
				want = want || p.IsValid() && p.Contains(a)
			}
			if got := s.Has(a); got != want {
				t.Fatalf("%v in %v: %v", a, list, got)
			}
		}
	})
}

func TestRates(t *testing.T) {
	r := admission.NewRates(admission.Config{PerSecond: 10, Burst: 5})
	now := time.Unix(1800000000, 0)
	a, b := netip.MustParseAddr("10.7.0.1"), netip.MustParseAddr("10.7.0.2")
	took := func(from netip.Addr, tries int) (n int) {
		for range tries {
			if r.Take(from, now) {
				n++
			}
		}
		return n
	}
	if got := took(a, 100); got != 5 {
		t.Errorf("%d at once, want 5", got)
	}
	if got := took(b, 3); got != 3 {
		t.Errorf("another source got %d", got)
	}
	now = now.Add(200 * time.Millisecond)
	if got := took(a, 100); got != 2 {
		t.Errorf("%d after 200 ms, want 2", got)
	}
	now = now.Add(time.Hour)
	if got := took(a, 100); got != 5 {
		t.Errorf("%d after an hour, want the burst and no more", got)
	}
	one, two, other := netip.MustParseAddr("2001:db8:0:1000::1"), netip.MustParseAddr("2001:db8:0:10ff::2"), netip.MustParseAddr("2001:db8:0:1100::1")
	if n := took(one, 5) + took(two, 5); n != 5 {
		t.Errorf("a /56 got %d, want 5", n)
	}
	if n := took(other, 5); n != 5 {
		t.Errorf("the next /56 got %d", n)
	}
	if free := admission.NewRates(admission.Config{}); !free.Take(a, now) {
		t.Error("without a limit")
	}
}

// A flood of a million forged sources neither grows the table nor gives back its allowance to the one who uses his up.
func TestAFloodOfSources(t *testing.T) {
	r := admission.NewRates(admission.Config{PerSecond: 100, Sources: 1024})
	now := time.Unix(1800000000, 0)
	heavy := netip.MustParseAddr("10.7.0.1")
	for r.Take(heavy, now) {
	}
	rng := rand.New(rand.NewPCG(1, 2))
	again := 0
	if n := testing.AllocsPerRun(1, func() {
		for range 1_000_000 {
			var ip [4]byte
			binary.BigEndian.PutUint32(ip[:], rng.Uint32())
			r.Take(netip.AddrFrom4(ip), now)
			if r.Take(heavy, now) {
				again++
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if again != 0 {
		t.Errorf("the heavy source got %d more", again)
	}
}

// Somebody sets the machine's time back: nobody is refused, or silent, until it is as late again.
func TestTheMachinesTimeIsSetBack(t *testing.T) {
	r := admission.NewRates(admission.Config{PerSecond: 10, Burst: 5})
	now, a := time.Unix(1800000000, 0), netip.MustParseAddr("10.7.0.1")
	for r.Take(a, now) {
	}
	now = now.Add(-time.Hour)
	n := 0
	for range 100 {
		if r.Take(a, now) {
			n++
		}
	}
	if n != 5 {
		t.Errorf("an hour earlier %d are answered, want the burst of 5", n)
	}
	var said admission.Report
	said.Happened(now, time.Minute)
	if got := said.Happened(now.Add(-time.Hour), time.Minute); got != 1 {
		t.Errorf("an hour earlier %d, want 1", got)
	}
}

func TestShares(t *testing.T) {
	s := admission.NewShares(3)
	a, b := netip.MustParseAddr("10.7.0.1"), netip.MustParseAddr("2001:db8:0:1000::1")
	took := func(from netip.Addr) (n int) {
		for range 10 {
			if s.Take(from) {
				n++
			}
		}
		return n
	}
	if one, other := took(a), took(b); one != 3 || other != 3 { // one time in 2,048 they share a place
		if s = admission.NewShares(3); took(a) != 3 || took(b) != 3 {
			t.Errorf("%d and %d", one, other)
		}
	}
	s.Give(a)
	s.Give(a)
	if n := took(a); n != 2 {
		t.Errorf("after two were given back, %d", n)
	}
}

func TestReport(t *testing.T) {
	var r admission.Report
	now := time.Unix(1800000000, 0)
	for i, want := range []uint64{1, 0, 0, 0} {
		if got := r.Happened(now, time.Minute); got != want {
			t.Errorf("%d: %d, want %d", i, got, want)
		}
	}
	if got := r.Happened(now.Add(time.Minute), time.Minute); got != 4 {
		t.Errorf("after a minute %d, want 4", got)
	}
}

func BenchmarkTake(b *testing.B) {
	r := admission.NewRates(admission.Config{PerSecond: 1 << 30})
	from, now := netip.MustParseAddr("10.7.0.1"), time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Take(from, now)
		}
	})
}

func BenchmarkHas(b *testing.B) {
	s, a := admission.NewSources(admission.Private()), netip.MustParseAddr("10.7.0.1")
	for b.Loop() {
		if !s.Has(a) {
			b.Fatal()
		}
	}
}
