package cache

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resolver/message"
)

// queued is an entry as the twin of the ring sees it.
type queued struct {
	name string
	used bool // and short enough to go round
}

// inOrder checks a shard's books and returns its living entries, the oldest first.
func inOrder(t interface{ Fatalf(string, ...any) }, s *shard) (out []queued) {
	if got := len(s.ring) + slotSize*len(s.slots); got > s.limit {
		t.Fatalf("%d bytes of %d", got, s.limit)
	}
	at, rest := s.tail, s.used
	for rest > 0 {
		e := s.entry(at)
		n := e.size()
		if n == 0 {
			rest -= len(s.ring) - at
			at = 0
			continue
		}
		if n < entryHead || at+n > len(s.ring) || n > rest {
			t.Fatalf("an entry of %d bytes at %d of %d, %d in use", n, at, len(s.ring), rest)
		}
		if e.flags()&flagDead == 0 {
			k := Key{Name: e[entryHead : entryHead+int(e[38])], Type: le.Uint16(e[32:]), Class: le.Uint16(e[34:]), Group: le.Uint32(e[28:])}
			if found, ok := s.find(e.tag(), &k); !ok || found != at {
				t.Fatalf("the entry at %d is found at %d, %v", at, found, ok)
			}
			out = append(out, queued{string(k.Name), e.flags()&flagUsed != 0 && n <= maxChance})
		}
		rest -= n
		if at += n; at == len(s.ring) {
			at = 0
		}
	}
	if rest != 0 || at != s.head && s.used > 0 {
		t.Fatalf("the ring ends at %d, the head is at %d, %d bytes are missing", at, s.head, rest)
	}
	slots := 0
	for _, sl := range s.slots {
		if sl.at != 0 {
			slots++
		}
	}
	if slots != s.live || slots != len(out) {
		t.Fatalf("%d slots, %d entries in the ring, %d in the books", slots, len(out), s.live)
	}
	return out
}

// The ring against a plain queue that goes round: bodies are those that were put, and whoever goes was the oldest of those not asked for.
func TestTheRingIsAClock(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := &shard{limit: rapid.SampledFrom([]int{9000, 20_000, 64 << 10}).Draw(r, "limit")}
		weak := uint32(rapid.SampledFrom([]int{1, 7, 1 << 20}).Draw(r, "tags")) // few tags: collisions
		bodies := map[string][]byte{}
		var queue []queued
		tag := func(name string) (h uint32) {
			for _, c := range []byte(name) {
				h = h*31 + uint32(c)
			}
			return h % weak
		}
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				name := fmt.Sprintf("\x04%04d\x00", rapid.IntRange(0, 300).Draw(r, "name"))
				a := &answer{body: bytes.Repeat([]byte{byte(len(bodies))}, rapid.IntRange(0, 1200).Draw(r, "size")), life: 1000}
				k := Key{Name: []byte(name)}
				if ok := s.put(tag(name), &k, a, 0); ok != (entrySize(&k, a) <= s.longest()) {
					r.Fatalf("kept: %v", ok)
				} else if !ok {
					return
				}
				bodies[name] = a.body
				queue = slices.DeleteFunc(queue, func(q queued) bool { return q.name == name })
				got := inOrder(r, s)
				if last := got[len(got)-1]; last.name != name {
					r.Fatalf("the newest is %q", last.name)
				}
				for gone := len(queue) + 1 - len(got); gone > 0; {
					q := queue[0]
					if queue = queue[1:]; q.used {
						queue = append(queue, queued{name: q.name})
					} else {
						gone--
						delete(bodies, q.name)
					}
				}
				for range queue { // some may have gone round after the last had gone
					if slices.Equal(queue, got[:len(got)-1]) || !queue[0].used {
						break
					}
					queue = append(queue[1:], queued{name: queue[0].name})
				}
				if queue = append(queue, queued{name: name}); !slices.Equal(queue, got) {
					r.Fatalf("the ring has\n%v\nits twin\n%v", got, queue)
				}
			},
			"ask": func(r *rapid.T) {
				if len(queue) == 0 {
					return
				}
				i := rapid.IntRange(0, len(queue)-1).Draw(r, "which")
				at, ok := s.find(tag(queue[i].name), &Key{Name: []byte(queue[i].name)})
				if !ok || !bytes.Equal(s.entry(at).body(), bodies[queue[i].name]) {
					r.Fatalf("%q: found %v", queue[i].name, ok)
				}
				s.entry(at).asked()
				queue[i].used = s.entry(at).size() <= maxChance
			},
		})
	})
}

// Even when all are asked for, room is made.
func TestAFullRingOfFavouritesGivesWay(t *testing.T) {
	s := &shard{limit: 256 << 10}
	for i := range 10_000 {
		k := Key{Name: fmt.Appendf(nil, "\x08%08d\x00", i)}
		if !s.put(uint32(i), &k, &answer{life: 1000}, 0) {
			t.Fatal("not kept")
		}
		at, _ := s.find(uint32(i), &k)
		s.entry(at).asked()
	}
	if got := inOrder(t, s); len(got) < 2500 {
		t.Errorf("%d entries", len(got))
	}
}

// Tags tell keys apart for speed only.
func TestEqualTagsAreNotEqualKeys(t *testing.T) {
	s := &shard{limit: 64 << 10}
	k := Key{Name: []byte("\x01a\x00"), Type: 1, Class: 1}
	s.put(1, &k, &answer{life: 1000}, 0)
	for _, other := range []Key{
		{Name: []byte("\x01b\x00"), Type: 1, Class: 1}, {Name: k.Name, Type: 2, Class: 1}, {Name: k.Name, Type: 1, Class: 2},
		{Name: k.Name, Type: 1, Class: 1, DO: true}, {Name: k.Name, Type: 1, Class: 1, CD: true}, {Name: k.Name, Type: 1, Class: 1, Group: 1},
	} {
		if _, ok := s.find(1, &other); ok {
			t.Errorf("%+v was taken for %+v", other, k)
		}
	}
	if _, ok := s.find(1, &k); !ok {
		t.Error("it is gone")
	}
}

func FuzzPut(f *testing.F) {
	head := func(flags uint16, counts ...uint16) []byte {
		b := make([]byte, message.HeaderSize)
		message.PutHeader(b, 1, message.QR|flags, 1, counts[0], counts[1], counts[2])
		return append(b, "\x03www\x07example\x00\x00\x01\x00\x01"...)
	}
	a := "\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01"
	soa := "\xc0\x10\x00\x06\x00\x01\x00\x00\x03\x84\x00\x19\x01a\xc0\x10\xc0\x0c\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x3c"
	opt := "\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"
	for _, s := range []struct {
		flags   uint16
		counts  []uint16
		records string
	}{
		{0, []uint16{1, 0, 0}, "\xc0\x0c" + a},
		{0, []uint16{1, 0, 1}, "\xc0\x0c" + a + opt},
		{0, []uint16{1, 0, 2}, "\xc0\x0c" + a + opt + "\xc0\x10" + a},                              // the OPT record in the middle
		{0, []uint16{1, 0, 0}, "\xc0\x19" + a},                                                     // a pointer to itself
		{0, []uint16{1, 0, 0}, "\xc0\x1b" + a},                                                     // one forward
		{0, []uint16{1, 0, 0}, "\x01a\xc0\x19" + a},                                                // a loop
		{0, []uint16{65535, 65535, 65535}, "\xc0\x0c" + a},                                         // counts that lie
		{0, []uint16{0, 0, 0}, "\xc0\x0c" + a},                                                     // the other way
		{0, []uint16{1, 0, 0}, "\xc0\x0c\x00\x01\x00\x01\x80\x00\x00\x01\x00\x04\xc0\x00\x02\x01"}, // TTL with its top bit
		{0, []uint16{1, 0, 0}, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x09\x00\x02\xc0\x10"},         // a CNAME upwards
		{0, []uint16{1, 1, 0}, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x09\x00\x02\xc0\x10" + soa},
		{0, []uint16{0, 1, 0}, soa}, {3, []uint16{0, 1, 0}, soa}, {2, []uint16{0, 0, 0}, ""}, {5, []uint16{0, 0, 0}, ""},
		{0, []uint16{1, 0, 0}, "\xc0\x0c\xff\x00\x00\x01\x00\x00\x01\x2c\x00\x02\xc0\x0c"}, // an unknown type
		{0, []uint16{1, 0, 0}, "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x01\x2c\x00\x01\x00"},     // MX, cut
	} {
		f.Add(append(head(s.flags, s.counts...), s.records...), uint16(9))
	}
	var many []byte
	for range 511 {
		many = append(many, "\xc0\x0c"+a...)
	}
	f.Add(append(head(0, 511, 0, 0), many...), uint16(1))
	f.Fuzz(func(t *testing.T, msg []byte, seconds uint16) {
		now := time.Unix(1_800_000_000, 0)
		c := New(Config{Bytes: 1 << 20}, clock.NewFake(now))
		k := Key{Class: 1, Type: 1}
		if len(msg) >= message.HeaderSize {
			name, next, ok := message.Expand(nil, msg, message.HeaderSize)
			if ok && next+4 <= len(msg) {
				message.Lower(name)
				k.Name, k.Type, k.Class = name, uint16(msg[next])<<8|uint16(msg[next+1]), uint16(msg[next+2])<<8|uint16(msg[next+3])
			}
		}
		before := bytes.Clone(msg)
		kept := c.Put(k, msg, now)
		if !bytes.Equal(msg, before) {
			t.Fatal("the message was changed")
		}
		inOrder(t, &c.shards[c.hash(&k)>>c.shift])
		reply := append(make([]byte, message.HeaderSize), k.Name...)
		reply = append(reply, byte(k.Type>>8), byte(k.Type), byte(k.Class>>8), byte(k.Class))
		read := func(hit Hit) (ttls []uint32) {
			message.PutHeader(hit.Body, 1, message.QR, 1, hit.Answers, hit.Authorities, hit.Additionals)
			r, ok := message.Read(hit.Body)
			for {
				rec, more := r.Next()
				if !more {
					break
				}
				if _, whole := message.AppendRecord(nil, hit.Body, rec); !whole || rec.Type == typeOPT {
					t.Fatalf("a record of type %d that cannot be read", rec.Type)
				}
				ttls = append(ttls, rec.TTL)
			}
			if !ok || r.Bad() || r.Offset() != len(hit.Body) {
				t.Fatal("the hit cannot be read")
			}
			return ttls
		}
		hit, ok := c.Get(bytes.Clone(reply), k, now)
		if ok != kept {
			t.Fatalf("kept %v, found %v", kept, ok)
		}
		if !ok {
			return
		}
		fresh := read(hit)
		sight, _ := c.Look(k)
		if sight.Left <= 0 || sight.Left > 24*time.Hour {
			t.Fatalf("it lives for %v", sight.Left)
		}
		later := now.Add(time.Duration(seconds) * time.Second)
		hit, ok = c.Get(bytes.Clone(reply), k, later)
		if ok != (sight.Left > later.Sub(now)) {
			t.Fatalf("of %v, after %v: %v", sight.Left, later.Sub(now), ok)
		}
		if !ok {
			return
		}
		for i, ttl := range read(hit) {
			if ttl != fresh[i]-uint32(seconds) || ttl > 86_400 {
				t.Fatalf("TTL %d, after %d s %d", fresh[i], seconds, ttl)
			}
		}
	})
}
