package cookie

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The first and last of the 64 vectors of the reference implementation: key 00 01 .. 0f, input of n bytes 00 01 ...
func TestSipHash(t *testing.T) {
	var secret [SecretSize]byte
	in := make([]byte, 64)
	for i := range in {
		in[i] = byte(i)
	}
	copy(secret[:], in)
	k := newSipKey(secret)
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5, 63: 0x958a324ceb064572} {
		if got := k.hash(in[:n]); got != want {
			t.Errorf("%d bytes: %016x, want %016x", n, got, want)
		}
	}
}

// The vectors of RFC 9018 appendix A.
func TestCookiesOfTheStandard(t *testing.T) {
	secret := unhex(t, "e5e973e5a6b2a43f48e7dc849e37bfcf")
	for name, c := range map[string]struct {
		secret []byte
		from   string
		at     int64
		want   string
	}{
		"A.1":        {secret, "198.51.100.100", 1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
		"A.2":        {secret, "198.51.100.100", 1559734385, "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"},
		"A.4, later": {unhex(t, "445536bcd2513298075a5d379663c962"), "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
		"A.4, first": {unhex(t, "dd3bdf9344b678b185a6f5cb60fca715"), "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741817, "22681ab97d52c298010000005cf7c57926556bd0934c72f8"},
	} {
		j, err := New(c.secret)
		if err != nil {
			t.Fatal(err)
		}
		want, from, at := unhex(t, c.want), netip.MustParseAddr(c.from), time.Unix(c.at, 0)
		if got := j.Append([]byte("x"), want[:8], from, at); !bytes.Equal(got[1:], want) {
			t.Errorf("%s: %x, want %x", name, got[1:], want)
		}
		if !j.Good(want, from, at) {
			t.Errorf("%s is not taken", name)
		}
	}
	// A.3: the reserved bytes of another implementation count as they are.
	j, err := New(secret)
	if err != nil {
		t.Fatal(err)
	}
	if !j.Good(unhex(t, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"), netip.MustParseAddr("203.0.113.203"), time.Unix(1559727985, 0)) {
		t.Error("a cookie with other reserved bytes is not taken")
	}
}

func TestGood(t *testing.T) {
	j, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	from, now := netip.MustParseAddr("10.7.0.40"), time.Unix(1<<32-100, 0) // soon the low 32 bits begin anew
	c := j.Append(nil, []byte("12345678"), from, now)
	if len(c) != Size || !j.Good(c, from, now) {
		t.Fatalf("%x is not good", c)
	}
	if !j.Good(c, netip.MustParseAddr("::ffff:10.7.0.40"), now) {
		t.Error("the same address as IPv6")
	}
	for at, want := range map[time.Duration]bool{time.Hour: true, time.Hour + time.Second: false, -5 * time.Minute: true, -301 * time.Second: false} {
		if got := j.Good(c, from, now.Add(at)); got != want {
			t.Errorf("after %v: %v", at, got)
		}
	}
	if j.Good(c, netip.MustParseAddr("10.7.0.41"), now) {
		t.Error("another's address")
	}
	for i := range c {
		bad := bytes.Clone(c)
		bad[i] ^= 1
		if j.Good(bad, from, now) {
			t.Errorf("byte %d may change", i)
		}
	}
	for _, n := range []int{0, 8, 16, 23} {
		if j.Good(c[:n], from, now) {
			t.Errorf("%d bytes are enough", n)
		}
	}
	if j.Good(append(bytes.Clone(c), 0), from, now) {
		t.Error("25 bytes")
	}
	j.Roll()
	if !j.Good(c, from, now) {
		t.Error("one change of the secret takes it away")
	}
	if again := j.Append(nil, c[:8], from, now); bytes.Equal(again, c) {
		t.Error("the secret was not changed")
	}
	j.Roll()
	if j.Good(c, from, now) {
		t.Error("two changes leave it good")
	}
}

func TestGivenSecrets(t *testing.T) {
	if _, err := New(make([]byte, 8)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a secret of 8 bytes: %v", err)
	}
	secret := bytes.Repeat([]byte("s"), SecretSize)
	a, err := New(secret)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(secret)
	if err != nil {
		t.Fatal(err)
	}
	from, now := netip.MustParseAddr("fd00::1"), time.Unix(1800000000, 0)
	c := a.Append(nil, []byte("12345678"), from, now)
	b.Roll()
	if !b.Good(c, from, now) {
		t.Error("servers with one secret do not take each other's cookies")
	}
	if n := testing.AllocsPerRun(100, func() { c = a.Append(c[:0], []byte("12345678"), from, now); _ = b.Good(c, from, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
