package gate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) // a Monday

func personOf(name string) identity.ID { return identity.PersonID("isthmus.test", "ot", name, "pass") }

// slowly says no, or yes, by going through everything there is, one rule after the other.
func slowly(targets []plan.Target, q question) session.End {
	var t *plan.Target
	var g *plan.Grant
	found := 0
	for i := range targets {
		for j := range targets[i].Grants {
			if targets[i].Grants[j].ID == q.grant {
				t, g = &targets[i], &targets[i].Grants[j]
				found++
			}
		}
	}
	p, ok := q.peer.Person()
	if !ok || found != 1 {
		return session.NoGrant
	}
	if g.Person != "spiffe://"+p.TrustDomain+"/tenant/"+p.Tenant+"/person/"+p.Name+"/" {
		return session.NotYours
	}
	if q.now.Before(g.From) || !q.now.Before(g.Until) {
		return session.NotNow
	}
	if g.Hours != nil {
		local := q.now.In(time.UTC)
		at := local.Format("15:04")
		if local.Weekday() != time.Monday || at < g.Hours.From || at >= g.Hours.To {
			return session.NotNow
		}
	}
	if t.Record != nil && (t.Protocol != resource.ProtocolSSH || !q.records) {
		return session.NotRecordable
	}
	if t.Device == nil && q.allow != nil && !strings.HasPrefix(t.Address, "127.") {
		return session.NotAllowedHere
	}
	most := t.Limits.Each
	if most == 0 {
		most = 16
	}
	if q.open >= most || q.all >= 4096 {
		return session.TooMany
	}
	return ""
}

func TestDecideAsTheSlowWayDoes(t *testing.T) {
	allow, bad := newAllowlist([]string{"127.0.0.0/8"})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	seen := map[session.End]int{}
	rapid.Check(t, func(t *rapid.T) {
		one := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
		hour := func(name string, from, to int) time.Duration {
			return time.Duration(rapid.IntRange(from, to).Draw(t, name)) * time.Hour
		}
		var targets []plan.Target
		for i := range rapid.IntRange(0, 4).Draw(t, "targets") {
			p := plan.Target{ID: fmt.Sprint("t", i), Protocol: resource.TargetProtocol(one("protocol", "ssh", "tcp")), Address: one("address", "127.0.0.1:22", "10.0.0.1:22")}
			p.Limits.Each = rapid.IntRange(0, 2).Draw(t, "each")
			if rapid.IntRange(0, 2).Draw(t, "recorded") == 0 {
				p.Record = &plan.Recording{}
			}
			if rapid.IntRange(0, 3).Draw(t, "device") == 0 {
				p.Address, p.Device = "", &plan.TargetDevice{Device: "d"}
			}
			for j := range rapid.IntRange(0, 3).Draw(t, "grants") {
				id := string("abcdef"[(2*i+j)%6]) // some stand there twice
				g := plan.Grant{ID: id, From: noon.Add(hour("from", -3, 1)), Until: noon.Add(hour("until", -1, 3))}
				g.Person = one("person", "spiffe://isthmus.test/tenant/ot/person/alice/", "spiffe://isthmus.test/tenant/ot/person/alice/", "spiffe://isthmus.test/tenant/ot/person/bob/",
					"spiffe://isthmus.test/tenant/ot/person/ali", "spiffe://isthmus.test/", "")
				if rapid.IntRange(0, 3).Draw(t, "hours") == 0 {
					g.Hours = &resource.WorkingHours{Days: []string{"Mon"}, From: "10:00", To: one("to", "12:00", "12:01", "13:00"), TimeZone: "UTC"}
				}
				p.Grants = append(p.Grants, g)
			}
			targets = append(targets, p)
		}
		r := compile(targets)
		q := question{
			now: noon.Add(hour("now", -1, 1)), all: rapid.SampledFrom([]int{0, 0, 4095, 4096}).Draw(t, "all"),
		}
		for _, q.grant = range []string{"a", "b", "c", "d", "e", "f"} {
			for _, q.peer = range []identity.ID{personOf("alice"), personOf("bob"), personOf("alicia"), "spiffe://isthmus.test/tenant/ot/network/n/agent/a"} {
				for _, q.open = range []int{0, 1, 15, 16} {
					for _, q.allow = range []*allowlist{nil, allow} {
						q.records = !q.records
						seen[compare(t, r, targets, q)]++
					}
				}
			}
		}
	})
	for _, end := range []session.End{"", session.NoGrant, session.NotYours, session.NotNow} { // the others are rare, and TestRefusalsSayWhy has them all
		if seen[end] == 0 {
			t.Errorf("%q was never decided", end)
		}
	}
}

func compare(t *rapid.T, r *rules, targets []plan.Target, q question) session.End {
	want := slowly(targets, q)
	e, until, no := r.decide(q)
	got := session.End("")
	if no != nil {
		got = no.why
		if no.words == "" {
			t.Error("a no without words")
		}
	}
	if got != want {
		t.Fatalf("%+v: %q, the slow way says %q", q, got, want)
	}
	if got == "" && (e.grant.ID != q.grant || !until.After(q.now) || until.After(e.grant.Until)) {
		t.Errorf("%+v until %s", e.grant, until)
	}
	if a := (&Gate{rules: r}).Allowed(q.peer); got == "" && !a {
		t.Error("may come in and may have no tunnel")
	}
	return got
}

func TestThePlansMemoryIsNotKept(t *testing.T) {
	targets := []plan.Target{{ID: "t", Address: "127.0.0.1:22", Grants: []plan.Grant{{
		ID: "a", Person: "spiffe://isthmus.test/tenant/ot/person/alice/", From: noon, Until: noon.Add(time.Hour),
		Hours: &resource.WorkingHours{Days: []string{"Mon"}, From: "00:00", To: "24:00", TimeZone: "UTC"},
	}}}}
	r := compile(targets)
	targets[0].Grants[0].Until, targets[0].Grants[0].Hours.Days[0] = noon, "Tue"
	if _, _, no := r.decide(question{peer: personOf("alice"), grant: "a", now: noon}); no != nil {
		t.Error(no.words)
	}
}

func TestTheLaterOfTwoClocksCounts(t *testing.T) {
	a := anchor{wall: noon, mono: time.Hour}
	for _, c := range []struct {
		wall time.Duration // since noon
		mono time.Duration // since the anchor
		want time.Duration // since noon
	}{
		{0, 0, 0},
		{time.Minute, time.Minute, time.Minute},
		{-time.Hour, time.Minute, time.Minute}, // set back: what has gone by counts
		{time.Hour, time.Minute, time.Hour},    // set forward: what it shows counts
		{2 * time.Minute, 0, 2 * time.Minute},  // the machine slept, and its own time with it
		{-48 * time.Hour, 10 * time.Hour, 10 * time.Hour},
	} {
		if got := a.at(instant{noon.Add(c.wall), time.Hour + c.mono}); !got.Equal(noon.Add(c.want)) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestAllow(t *testing.T) {
	for _, c := range []struct {
		patterns string
		address  string
		maybe    bool
		look     bool
	}{
		{"127.0.0.0/8", "127.0.0.1:22", true, true},
		{"127.0.0.0/8", "128.0.0.1:22", false, true},
		{"127.0.0.0/8", "[::ffff:127.0.0.1]:22", true, true},
		{"127.0.0.0/8", "localhost:22", true, true}, // its addresses decide
		{"127.0.0.1", "127.0.0.1:22", true, true},
		{"127.0.0.1:22", "127.0.0.1:23", false, true},
		{"127.0.0.0/8:22", "127.9.9.9:22", true, true},
		{"[fd00::/8]:22", "[fd00::1]:22", true, true},
		{"[fd00::/8]:22", "[fd00::1]:23", false, true},
		{"fd00::/8", "[fd00::1%eth0]:23", true, true},
		{"press.plant.example", "press.plant.example:22", true, false},
		{"press.plant.example", "PRESS.plant.example.:22", true, false},
		{"press.plant.example", "oven.plant.example:22", false, true},
		{"*.plant.example:22", "press.plant.example:22", true, false},
		{"*.plant.example:22", "press.plant.example:23", false, true},
		{"*.plant.example", "plant.example:22", false, true},
		{"*.plant.example", "evilplant.example:22", false, true},
		{"*", "anything.example:1", true, false},
		{"*", "10.0.0.1:1", true, false},
		{"*", "unix:/run/x", false, false},
		{"unix:", "unix:/run/x", true, false},
		{"unix:/run/", "unix:/run/a/x", true, false},
		{"unix:/run/", "unix:/run/../etc/x", false, false},
		{"unix:/run/", "unix:/runaway", false, false},
		{"unix:/run/x", "unix:/run/x", true, false},
		{"unix:/run/x", "unix:/run/xy", false, false},
		{"unix:", "127.0.0.1:22", false, true},
		{"", "127.0.0.1:22", false, true},
	} {
		patterns := strings.Fields(c.patterns)
		if patterns == nil {
			patterns = []string{}
		}
		a, bad := newAllowlist(patterns)
		if len(bad) > 0 {
			t.Errorf("%q: %v", c.patterns, bad)
		}
		if a.mayBe(c.address) != c.maybe || a.mustLook(c.address) != c.look {
			t.Errorf("%q, %q: %v %v", c.patterns, c.address, a.mayBe(c.address), a.mustLook(c.address))
		}
	}
	if everything, _ := newAllowlist(nil); !everything.mayBe("10.0.0.1:22") || everything.mustLook("a.example:22") || !everything.mayBe("unix:/x") {
		t.Error("no list allows everything")
	}
	for _, p := range []string{"", "10.0.0.0/33", "10.0.0.1:0", "10.0.0.1:x", "*x.example", "a*b", "*.", "unix:run", "unix:/run/../x", "[fd00::1", "a b", "::ffff:1.2.3.4/104"} {
		if CheckAllow([]string{p}) == nil {
			t.Errorf("%q is accepted", p)
		}
	}
}

func FuzzAllow(f *testing.F) {
	for _, s := range []string{"127.0.0.0/8", "[fd00::/8]:22", "*.x.example:1", "unix:/run/", "*", "10.0.0.1:502"} {
		f.Add(s, "10.0.0.1:502")
	}
	f.Add("unix:/run/", "unix:/run/x")
	f.Fuzz(func(t *testing.T, pattern, address string) {
		a, bad := newAllowlist([]string{pattern})
		if len(bad) > 0 && (a.mayBe(address) || CheckAllow([]string{pattern}) == nil) {
			t.Errorf("%q is wrong and allows %q", pattern, address)
		}
		if strings.HasPrefix(address, "unix:") && a.mayBe(address) && !strings.HasPrefix(pattern, "unix:") {
			t.Errorf("%q allows %q", pattern, address)
		}
	})
}

func TestRefusalsAreCounted(t *testing.T) {
	var r refusals
	written := 0
	rec := session.Record{At: noon, Words: "no"}
	for i := range 5000 {
		if write, _ := r.take("alice", time.Duration(i)*time.Millisecond, rec); write {
			written++
		}
	}
	if write, _ := r.take("bob", 5*time.Second, rec); !write {
		t.Error("one person's refusals hide another's")
	}
	if written != refusalsTold {
		t.Error(written, "were written")
	}
	if due, wait, ok := r.due(30*time.Second, false); len(due) != 0 || !ok || wait != 30*time.Second {
		t.Error(due, wait, ok)
	}
	due, _, _ := r.due(time.Minute, false)
	if len(due) != 1 || !strings.HasPrefix(due[0].Words, "4990 more were refused since 12:00:00") {
		t.Fatal(due)
	}
	if write, _ := r.take("alice", 61*time.Second, rec); write {
		t.Error("a minute's loudness is forgotten at once")
	}
	if due, _, _ := r.due(2*time.Minute, false); len(due) != 1 || !strings.HasPrefix(due[0].Words, "1 more") {
		t.Error(due)
	}
	if due, _, ok := r.due(3*time.Minute+time.Second, false); len(due) != 0 || ok {
		t.Error(due, ok)
	}
	if write, fresh := r.take("alice", 4*time.Minute, rec); !write || !fresh {
		t.Error("a quiet minute is not enough")
	}
	for i := range 10 * refusalPeople {
		r.take(fmt.Sprint(i), 4*time.Minute, rec)
	}
	if len(r.people) > refusalPeople+1 {
		t.Error(len(r.people), "accounts")
	}
	if due, _, _ := r.due(4*time.Minute, true); len(due) != 1 {
		t.Error(len(due), "records of those without an account")
	}
}
