package abuse

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const goodZone = `$TTL 60
@         IN SOA ns.corp.example. hostmaster.corp.example. 1 3600 600 86400 60
@         IN NS  ns.corp.example.
web       IN A   10.30.0.4
mail      IN A   10.30.0.5
*.apps    IN A   10.30.0.6
`

// badZones are zone files with mistakes, and what must be said of each: the line and what is wrong there.
func badZones() map[string]struct {
	text  string
	words []string
} {
	return map[string]struct {
		text  string
		words []string
	}{
		"mistakes in three lines": {
			goodZone + "db IN A 10.30.0.300\ncache IN A 10.30.0.8\nold IN AAA 1::2\nfar.other.example. IN A 10.30.0.9\n",
			[]string{"db.corp:7:", "db.corp:9:", "db.corp:10: far.other.example"},
		},
		"an alias beside an address": {goodZone + "web IN CNAME mail\n", []string{"db.corp:7: web"}},
		"a file within the file":     {goodZone + "$INCLUDE /etc/passwd\n", []string{"db.corp:7:"}},
		"names without end":          {goodZone + "$GENERATE 1-100000000 h$ A 10.0.0.1\n", []string{"db.corp:7:"}},
		"a bracket that stays open":  {goodZone + "@ IN TXT ( \"open\n", []string{"db.corp:"}},
		"a type it cannot hold":      {goodZone + "x IN DNSKEY 256 3 8 AwEAAQ==\n", []string{"db.corp:7: x.corp.example", "DNSKEY"}},
		"a name of 300 bytes":        {goodZone + strings.Repeat("long.", 60) + "x IN A 10.0.0.1\n", []string{"db.corp:7:"}},
		"no text":                    {"\x00\x01\x02\xff\n", []string{"db.corp:"}},
	}
}

// At the start a zone file with mistakes is refused, with every line; when it is read again it changes nothing, and the log says why.
func TestZoneFilesWithErrors(t *testing.T) {
	t.Parallel()
	upstream := well(t)
	d := deployment(t)
	manifests, zone := filepath.Join(d.Dir, "dns.yaml"), filepath.Join(d.Dir, "db.corp")
	write(t, manifests, withRules(upstream))
	args := []string{"dns", "serve", "--listen", "127.0.0.1:0", "--config", manifests, "--zone-file", "corp.example=" + zone}
	for name, z := range badZones() {
		write(t, zone, z.text)
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		_, err := d.CLI(ctx, "", "", args...)
		cancel()
		if err == nil || ctx.Err() != nil && ctx.Err() != context.Canceled {
			t.Fatalf("%s: it starts: %v", name, err)
		}
		t.Logf("%s: %v", name, err)
		for _, w := range append(z.words, "next: ") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: it does not say %q:\n%v", name, w, err)
			}
		}
	}

	var many strings.Builder
	many.WriteString(goodZone)
	for i := range more(50_000, 400_000) {
		fmt.Fprintf(&many, "h%d IN A 10.31.%d.%d\n", i, i>>8&0xff, i&0xff)
	}

	write(t, zone, goodZone)
	p, line := after(t, d, "the resolver is ready", "dns", args...)
	r := &resolver{p, addressIn(t, line)}
	o := r.besides()
	before := o.view.warm(200)
	memory := r.watchMemory()
	s := newStub(t, "127.0.3.1", r.at)
	zoneIs := func(what, address string) {
		t.Helper()
		for _, name := range []string{"web.corp.example.", "any.apps.corp.example."} {
			want := address
			if name != "web.corp.example." {
				want = "10.30.0.6"
			}
			if err := s.expects(t, name, want)(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		reply, err := s.ask(query(t, "cache.corp.example.", dns.TypeA), 3)
		if err != nil || int(reply[3]&0xf) != dns.RcodeNameError {
			t.Errorf("%s: a name out of a file with mistakes is there: %v", what, err)
		}
	}
	n := 0
	for name, z := range badZones() {
		write(t, zone, z.text)
		n++
		said := r.hangUp("nothing was reloaded", n)
		for _, w := range z.words {
			if !strings.Contains(said, w) {
				t.Errorf("%s: the log does not say %q: %s", name, w, said)
			}
		}
		zoneIs(name, "10.30.0.4")
	}
	write(t, zone, strings.Replace(goodZone, "10.30.0.4", "10.30.0.44", 1))
	r.hangUp("msg=reloaded", 1)
	zoneIs("the file is mended", "10.30.0.44")

	o.fine("beside mistakes", before)

	// Many names at once.
	write(t, zone, many.String())
	r.hangUp("msg=reloaded", 2)
	o.fine("while many names are read", before)
	if err := s.expects(t, "h4660.corp.example.", "10.31.18.52")(); err != nil {
		t.Error(err)
	}
	memory().within(t, int64(more(200, 1600)))
	o.stop()
	r.end()
	r.saysOnce(n, "nothing was reloaded")
	if lines := len(r.lines()); lines > n+8 {
		t.Errorf("the log has %d lines:\n%s", lines, r.tail())
	}
}
