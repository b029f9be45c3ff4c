package abuse

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// allow is an allowlist of the gateways of manifest.
func allow(name string, rules ...string) string {
	return "---\napiVersion: isthmus/v1\nkind: Allowlist\nmetadata: {tenant: ot, network: front, name: " + name + "}\nspec:\n  owner: " + name +
		"\n  rules:\n    - " + strings.Join(rules, "\n    - ") + "\n"
}

// everyday lets in those who use the gateway properly.
const everyday = "{name: everyday, sources: [127.0.0.1/32]}"

// enters tells whether a source gets a session.
func (f *front) enters(source string) error { return visit(source, f.at, served) }

// Rules that overlap: the longest prefix decides, of equal ones the one that denies, and what is for another port or name hides nothing.
func TestRulesThatOverlap(t *testing.T) {
	t.Parallel()
	to := manifest("", map[string][]string{served: {serve(t, repeat).at()}, raw: {serve(t, echo).at()}})
	f := startFront(t, to+allow("fabrikam", everyday,
		"{name: all, sources: [127.0.1.0/24]}",
		"{name: one, sources: [127.0.1.200/32]}",
		"{name: twin, sources: [127.0.1.16/28]}",
		"{name: port, action: deny, sources: [127.0.1.1/32], ports: [1]}",
		"{name: name, action: deny, sources: [127.0.1.2/32], names: [raw.example]}",
		"{name: over, action: deny, sources: [127.0.1.3/32], expires: 2020-01-01T00:00:00Z}",
		"{name: same, sources: [127.0.1.0/24], names: [served.example]}",
	)+allow("lab", "{name: half, action: deny, sources: [127.0.1.128/25]}", "{name: twin, action: deny, sources: [127.0.1.16/28]}"))
	o := f.besides()
	for source, rule := range map[string]string{
		"127.0.1.1":   "",
		"127.0.1.2":   "",
		"127.0.1.3":   "",
		"127.0.1.127": "",
		"127.0.1.128": "ot/front/lab/half",
		"127.0.1.200": "", // /32 before /25
		"127.0.1.20":  "ot/front/lab/twin",
		"127.0.9.9":   "nobody's",
	} {
		err := f.enters(source)
		if (err == nil) != (rule == "") {
			t.Errorf("%s: %v, and the rule against it is %q", source, err, rule)
		}
	}
	if _, err := f.said("127.0.1.2", records(helloOf(names(raw)), 1<<14)); err == nil {
		t.Error("127.0.1.2 reaches the name that a rule of its own denies")
	}
	o.lap("beside overlaps")
	o.stop()
	f.end()
	if n := f.told(2, "denied"); n != 3 {
		t.Errorf("the log accounts for %d of 3 denials", n)
	}
	for _, rule := range []string{"ot/front/lab/half", "ot/front/lab/twin", "ot/front/fabrikam/name"} {
		if len(f.lines("reason=denied", rule)) == 0 {
			t.Errorf("the log does not name the rule %s:\n%s", rule, f.tail())
		}
	}
}

// A rule that ends cuts what it let in and nobody else, and says so once.
func TestRulesThatExpire(t *testing.T) {
	t.Parallel()
	to := manifest("", map[string][]string{served: {serve(t, repeat).at()}})
	end := time.Now().Add(8 * time.Second).Truncate(time.Second)
	f := startFront(t, to+allow("trial",
		"{name: trial, sources: [127.0.1.0/24], expires: "+end.UTC().Format(time.RFC3339)+"}", "{name: customer, sources: [127.0.1.7/32]}")+allow("own", everyday))
	o := f.besides()
	const many = 100
	var on []*session
	for i := range many {
		s, err := enter(fmt.Sprintf("127.0.1.%d", 10+i%40), f.at, served)
		must(t, err)
		defer s.tcp.Close()
		on = append(on, s)
	}
	customer, err := enter("127.0.1.7", f.at, served)
	must(t, err)
	defer customer.tcp.Close()
	if time.Now().After(end) {
		t.Fatal("this machine is too slow for the test")
	}
	for _, s := range on {
		if err := ended(s.tcp, end.Add(patient)); err != nil {
			t.Fatal(err)
		}
	}
	late := time.Since(end)
	t.Logf("%d sessions were cut, the last %v after their rule ended", many, late)
	if late < 0 || late > tolerable {
		t.Errorf("the last was cut %v after the end", late)
	}
	if err := customer.ping(); err != nil {
		t.Errorf("one who has a rule of its own was cut: %v", err)
	}
	if f.enters("127.0.1.10") == nil {
		t.Error("a rule that is over lets somebody in")
	}
	o.fine("beside an end", 50)
	o.stop()
	f.end()
	f.saysOnce(1, "the time of their rules is over", fmt.Sprintf("connections=%d", many))
	if n := f.told(2, "cut-no-rule"); n != many {
		t.Errorf("the log accounts for %d of %d that were cut:\n%s", n, many, f.tail())
	}
}

// A file with errors changes nothing, and the log says where they are.
func TestAnAllowlistWithErrors(t *testing.T) {
	t.Parallel()
	to := manifest("", map[string][]string{served: {serve(t, repeat).at()}})
	good := to + allow("fabrikam", everyday, "{name: plant, sources: [127.0.1.0/24]}", "{name: lab, action: deny, sources: [127.0.1.128/25]}")
	f := startFront(t, good)
	o := f.besides()
	var s *session
	await(t, "somebody who may come in", func() (err error) {
		s, err = enter("127.0.1.7", f.at, served)
		return err
	})
	defer s.tcp.Close()
	unchanged := func(what string) {
		t.Helper()
		if err := s.ping(); err != nil {
			t.Errorf("%s: an open session: %v", what, err)
		}
		if err := f.enters("127.0.1.8"); err != nil {
			t.Errorf("%s: who may come in: %v", what, err)
		}
		if f.enters("127.0.1.200") == nil {
			t.Errorf("%s: who may not come in does", what)
		}
	}
	line := func(n int) string { return fmt.Sprintf("front.yaml:%d", n) }
	first := strings.Count(to, "\n") + 8 // line of the rules
	errs := 0
	for _, c := range []struct {
		what  string
		text  string
		words []string
	}{
		{"a range that is none", strings.Replace(good, "127.0.1.0/24", "127.0.1.0/240", 1), []string{line(first + 1), "127.0.1.0/240"}},
		{"host bits", strings.Replace(good, "127.0.1.0/24", "127.0.1.5/24", 1), []string{"plant", "127.0.1.5/24", "127.0.1.0/24"}},
		{"two mistakes", strings.NewReplacer("name: plant, sources", "name: plant, source", "action: deny", "action: refuse").Replace(good), []string{
			line(first + 1), `"source"`, line(first + 2), "refuse",
		}},
		{"a rule twice", strings.Replace(good, "name: lab", "name: plant", 1), []string{`"plant" twice`}},
		{"half a file", good[:len(good)-20], []string{"front.yaml:"}},
		{"no gateway", strings.Replace(good, "kind: Gateway", "kind: Gatway", 1), []string{line(2), "Gatway"}},
		{"an empty file", "", []string{"front.yaml holds no resource"}},
		{"binary", "\x00\x01\x02", []string{"front.yaml"}},
	} {
		f.write(t, c.text)
		errs++
		said := f.hangUp("nothing was reloaded", errs)
		t.Logf("%s: %s", c.what, said)
		for _, w := range c.words {
			if !strings.Contains(said, w) && !strings.Contains(said, strings.ReplaceAll(w, `"`, `\"`)) {
				t.Errorf("%s: the log does not say %q", c.what, w)
			}
		}
		unchanged(c.what)
	}
	f.write(t, strings.Replace(good, "127.0.1.0/24", "127.0.1.0/30", 1))
	f.hangUp("msg=reloaded", 1)
	if err := ended(s.tcp, time.Now().Add(patient)); err != nil {
		t.Errorf("after the file was mended, a session that is not allowed any more: %v", err)
	}
	o.fine("beside errors", 20)
	o.stop()
	f.end()
	f.saysOnce(errs, "nothing was reloaded")
}

// rate is how many connections a second are led to a target and back, by two who do nothing else.
func (f *front) rate(lasting time.Duration) float64 {
	f.t.Helper()
	hello := records(helloOf(names(raw)), 1<<14)
	var all sync.WaitGroup
	var n atomic.Int64
	began := time.Now()
	for i := range 2 {
		all.Go(func() {
			for time.Since(began) < lasting {
				if back, err := f.said(fmt.Sprintf("127.0.4.%d", 1+i), hello); err != nil || !bytes.Equal(back, hello) {
					f.t.Errorf("not led through: %v", err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}

// 100,000 rules are read while the gateway works, cost it no connection, and make it no slower than ten.
func TestAHundredThousandRules(t *testing.T) {
	to := manifest("", map[string][]string{served: {serve(t, repeat).at()}, raw: {serve(t, quick).at()}})
	list := func(n int) string {
		rules := []string{everyday, "{name: busy, sources: [127.0.4.0/24]}"}
		for i := range n - 2 {
			at := net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))
			rules = append(rules, fmt.Sprintf("{name: r%d, sources: [%s/32], ports: [8883], names: [served.example], note: by mail}", i, at))
		}
		return to + allow("all", rules...)
	}
	few, many := list(10), list(100_000)
	f := startFront(t, few)
	o := f.besides()
	memory := f.watchMemory()
	const lasting = time.Second // much longer, and ports run out
	var with [2]float64
	for round := range more(1, 5) {
		with[0] = max(with[0], f.rate(lasting))
		o.lap("beside ten rules")
		f.write(t, many)
		began := time.Now()
		f.hangUp("msg=reloaded", 2*round+1)
		took := time.Since(began)
		t.Logf("%d bytes of rules were in force after %v", len(many), took.Round(time.Millisecond))
		if took > 15*time.Second {
			t.Errorf("reading the rules took %v", took)
		}
		o.fine("while 100,000 rules are read", 5)
		if n := f.status().Gateways[0].Rules; n != 100_000 {
			t.Errorf("%d rules are in force", n)
		}
		with[1] = max(with[1], f.rate(lasting))
		o.fine("beside 100,000 rules", 5)
		f.write(t, few)
		f.hangUp("msg=reloaded", 2*round+2)
	}
	ratio := with[1] / with[0]
	t.Logf("%.0f connections a second with ten rules, %.0f with 100,000: %.2f times", with[0], with[1], ratio)
	if ratio < 0.6 {
		t.Errorf("100,000 rules make %.2f of the rate of ten", ratio)
	}
	m := memory()
	m.within(t, 800)
	if m.after-m.before > 200<<20 {
		t.Errorf("%d MiB stay behind", (m.after-m.before)>>20)
	}
	o.stop()
	f.end()
	if n := len(f.lines()); n > 20 {
		t.Errorf("the log has %d lines:\n%s", n, f.tail())
	}
}

// quick repeats the first bytes and leaves.
func quick(c net.Conn) {
	b := make([]byte, 1<<12)
	n, err := c.Read(b)
	if err != nil {
		return
	}
	_, _ = c.Write(b[:n])
}
