package proxyproto_test

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

var (
	start = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	key   = bytes.Repeat([]byte{7}, 32)
)

func signed(t *testing.T, source, destination string, at time.Time) proxyproto.Header {
	t.Helper()
	h := proxyproto.New(ap(source), ap(destination))
	h.SetLinkID(42)
	if err := proxyproto.Sign(key, &h, at); err != nil {
		t.Fatal(err)
	}
	b, err := proxyproto.Append(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err = proxyproto.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAProofHoldsForItsHeaderOnly(t *testing.T) {
	for _, pair := range [][2]string{{"10.7.0.50:50010", "10.7.0.4:8883"}, {"[2001:db8::1]:50010", "10.7.0.4:8883"}, {"[::ffff:10.7.0.50]:1", "10.7.0.4:2"}} {
		h := signed(t, pair[0], pair[1], start)
		p, err := proxyproto.Verify(key, &h, start.Add(time.Second), time.Minute)
		if err != nil || p.LinkID != 42 || !p.Time.Equal(start) {
			t.Fatalf("%v: %+v, %v", pair, p, err)
		}
	}
	for name, c := range map[string]struct {
		change func(*proxyproto.Header)
		key    []byte
		at     time.Time
		kind   fault.Kind
		words  string
	}{
		"another link":        {change: func(h *proxyproto.Header) { h.SetLinkID(43) }, kind: fault.Unauthenticated, words: "not made with this link key"},
		"another source":      {change: func(h *proxyproto.Header) { h.Source = ap("10.7.0.51:50010") }, kind: fault.Unauthenticated, words: "not made"},
		"another source port": {change: func(h *proxyproto.Header) { h.Source = ap("10.7.0.50:50011") }, kind: fault.Unauthenticated, words: "not made"},
		"another destination": {change: func(h *proxyproto.Header) { h.Destination = ap("10.7.0.5:8883") }, kind: fault.Unauthenticated, words: "not made"},
		"another key":         {key: bytes.Repeat([]byte{8}, 32), kind: fault.Unauthenticated, words: "not made"},
		"a later timestamp":   {change: func(h *proxyproto.Header) { h.TLVs[1].Value[8]++ }, kind: fault.Unauthenticated, words: "not made"},
		"another nonce":       {change: func(h *proxyproto.Header) { h.TLVs[1].Value[9]++ }, kind: fault.Unauthenticated, words: "not made"},
		"another version":     {change: func(h *proxyproto.Header) { h.TLVs[1].Value[0]++ }, kind: fault.Unauthenticated, words: "cannot be read"},
		"cut short":           {change: func(h *proxyproto.Header) { h.TLVs[1].Value = h.TLVs[1].Value[:56] }, kind: fault.Unauthenticated, words: "56 bytes"},
		"no proof":            {change: func(h *proxyproto.Header) { h.TLVs = h.TLVs[:1] }, kind: fault.Unauthenticated, words: "no proof"},
		"no link":             {change: func(h *proxyproto.Header) { h.TLVs = h.TLVs[1:] }, kind: fault.Unauthenticated, words: "names no link"},
		"LOCAL":               {change: func(h *proxyproto.Header) { h.Local = true }, kind: fault.Unauthenticated, words: "only a PROXY header"},
		"an empty key":        {key: []byte{}, kind: fault.Invalid, words: "at least 16"},
		"five minutes late":   {at: start.Add(5 * time.Minute), kind: fault.Expired, words: "5m0s old"},
		"five minutes early":  {at: start.Add(-5 * time.Minute), kind: fault.Expired, words: "5m0s ahead"},
	} {
		h := signed(t, "10.7.0.50:50010", "10.7.0.4:8883", start)
		if c.change != nil {
			c.change(&h)
		}
		k, at := key, start
		if c.key != nil {
			k = c.key
		}
		if !c.at.IsZero() {
			at = c.at
		}
		if _, err := proxyproto.Verify(k, &h, at, proxyproto.DefaultSkew); fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignReplacesItsOwnProof(t *testing.T) {
	h := signed(t, "10.7.0.50:50010", "10.7.0.4:8883", start)
	h.SetLinkID(43)
	if err := proxyproto.Sign(key, &h, start); err != nil {
		t.Fatal(err)
	}
	if p, err := proxyproto.Verify(key, &h, start, time.Minute); err != nil || p.LinkID != 43 || len(h.TLVs) != 2 {
		t.Fatalf("%+v of %+v, %v", p, h, err)
	}
	plain := proxyproto.New(ap("10.7.0.50:50010"), ap("10.7.0.4:8883"))
	if err := proxyproto.Sign(key, &plain, start); err == nil {
		t.Error("a header without link id was signed")
	}
}

func proof(at time.Time, n byte) proxyproto.Proof {
	return proxyproto.Proof{Time: at, Nonce: [16]byte{n}}
}

func TestReplayWindow(t *testing.T) {
	w := proxyproto.NewReplayWindow(time.Minute, 3)
	use := func(p proxyproto.Proof, at time.Time) fault.Kind {
		if err := w.Use(p, at); err != nil {
			return fault.KindOf(err)
		}
		return 255
	}
	steps := []struct {
		name string
		p    proxyproto.Proof
		at   time.Time
		want fault.Kind
	}{
		{"first", proof(start, 1), start, 255},
		{"again", proof(start, 1), start, fault.Denied},
		{"again at the end of its life", proof(start, 1), start.Add(time.Minute), fault.Denied},
		{"another nonce", proof(start, 2), start, 255},
		{"from the future", proof(start.Add(time.Minute), 3), start, 255},
		{"full", proof(start, 4), start, fault.Exhausted},
		{"the future one again when it is nearly over", proof(start.Add(time.Minute), 3), start.Add(2 * time.Minute), fault.Denied},
		{"room again", proof(start.Add(2*time.Minute), 5), start.Add(2 * time.Minute), 255},
		{"forgotten, hence refused, with the clock set back too", proof(start, 1), start, fault.Denied},
	}
	for _, s := range steps {
		if got := use(s.p, s.at); got != s.want {
			t.Fatalf("%s: %v, want %v", s.name, got, s.want)
		}
	}
	if w.Len() != 2 {
		t.Errorf("%d remembered, want 2", w.Len())
	}
	w = proxyproto.NewReplayWindow(0, 0)
	w.RefuseBefore(start)
	if use(proof(start.Add(-time.Second), 1), start) != fault.Denied || use(proof(start, 1), start) != 255 {
		t.Error("a proof from before the start of the process passes, or one from after it does not")
	}
}

func TestReplayWindowLetsOneOfManyThrough(t *testing.T) {
	w := proxyproto.NewReplayWindow(time.Minute, 0)
	var through atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range byte(100) {
				if w.Use(proof(start, n), start) == nil {
					through.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if through.Load() != 100 || w.Len() != 100 {
		t.Errorf("%d uses of 100 proofs succeeded, %d remembered", through.Load(), w.Len())
	}
}

func BenchmarkSignAppend(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		h := proxyproto.New(ap("10.7.0.50:50010"), ap("10.7.0.4:8883"))
		h.SetLinkID(42)
		if err := proxyproto.Sign(key, &h, start); err != nil {
			b.Fatal(err)
		}
		if _, err := proxyproto.Append(nil, h); err != nil {
			b.Fatal(err)
		}
	}
}
