package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
)

func TestNamesOfTargets(t *testing.T) {
	for text, want := range map[string]targetName{
		"ot/plant-7/press-4-ssh":                 {"", "ot", "plant-7", "press-4-ssh"},
		"plant-7/press-4-ssh":                    {"", "", "plant-7", "press-4-ssh"},
		"press-4-ssh":                            {"", "", "", "press-4-ssh"},
		"service@plant-7/press-4-ssh":            {"service", "", "plant-7", "press-4-ssh"},
		"press-4-ssh.plant-7.ot.isthmus":         {"", "ot", "plant-7", "press-4-ssh"},
		"s_1.x-y@press-4-ssh.plant-7.ot.isthmus": {"s_1.x-y", "ot", "plant-7", "press-4-ssh"},
		"press-4-ssh.plant-7.ot":                 {"", "ot", "plant-7", "press-4-ssh"},
		"press-4-ssh.plant-7":                    {"", "", "plant-7", "press-4-ssh"},
		"isthmus":                                {"", "", "", "isthmus"},
		"isthmus.isthmus.isthmus.isthmus":        {"", "isthmus", "isthmus", "isthmus"},
		"":                                       {},
		"@a/b":                                   {},
		"-oProxyCommand=x@a/b":                   {},
		"..@a/b":                                 {},
		"a/b/c/d":                                {},
		"a//b":                                   {},
		"../b":                                   {},
		"-v":                                     {},
		"a.b.c.d":                                {},
		"A/B":                                    {},
		"a b/c":                                  {},
		"a/b.c":                                  {},
		"press-4-ssh.plant-7.ot.isthmus/../../x": {},
		"x@y@plant-7/press-4-ssh":                {},
		"press-4-ssh.plant-7.ot.isthmus ; rm -rf /":      {},
		"plant-7/press-4-ssh$(id)":                       {},
		"service@press-4-ssh.plant-7.ot.isthmus.isthmus": {},
	} {
		got, err := parseTarget(text)
		if (err == nil) != (want != targetName{}) || err == nil && got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if err == nil && got.whole() {
			if again, err := parseTarget(hostName(got.path())); err != nil || again.path() != got.path() {
				t.Errorf("%q: its host name means %+v, %v", text, again, err)
			}
		}
	}
	for _, c := range []struct {
		text, path string
		fits       bool
	}{
		{"press-4-ssh", "ot/plant-7/press-4-ssh", true},
		{"plant-7/press-4-ssh", "ot/plant-7/press-4-ssh", true},
		{"plant-8/press-4-ssh", "ot/plant-7/press-4-ssh", false},
		{"it/plant-7/press-4-ssh", "ot/plant-7/press-4-ssh", false},
		{"press-4", "ot/plant-7/press-4-ssh", false},
	} {
		if got, err := parseTarget(c.text); err != nil || got.fits(c.path) != c.fits {
			t.Errorf("%s and %s: %v, %v", c.text, c.path, !c.fits, err)
		}
	}
}

func TestAccountOf(t *testing.T) {
	for name, c := range map[string]struct {
		said   string
		logins []string
		want   string
	}{
		"said":                {"service", []string{"root", "service"}, "service"},
		"the only one":        {"", []string{"service"}, "service"},
		"said, and any does":  {"service", nil, "service"},
		"said, and not there": {"root", []string{"service"}, ""},
		"one of several":      {"", []string{"a-1", "b-1"}, ""},
	} {
		if got, err := accountOf(c.said, dialer.PassGrant{Logins: c.logins, Target: "ot/plant-7/x"}); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestLocalAddresses(t *testing.T) {
	for _, c := range []struct {
		text   string
		others bool
		want   string
	}{
		{"13389", false, "127.0.0.1:13389"},
		{"0", false, "127.0.0.1:0"},
		{"127.0.0.1:1", false, "127.0.0.1:1"},
		{"127.9.0.1:1", false, "127.9.0.1:1"},
		{"[::1]:1", false, "[::1]:1"},
		{"localhost:1", false, "127.0.0.1:1"},
		{"0.0.0.0:1", false, ""},
		{":1", false, ""},
		{"[::]:1", false, ""},
		{"10.0.0.9:1", false, ""},
		{"10.0.0.9:1", true, "10.0.0.9:1"},
		{":1", true, ":1"},
		{"example.org:1", true, ""},
		{"70000", false, ""},
		{"127.0.0.1:http", false, ""},
		{"", false, ""},
	} {
		if got, err := localAddress(c.text, c.others); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.text, got, err)
		}
	}
}

func TestWhereSocksLeads(t *testing.T) {
	grant := func(address string) dialer.PassGrant {
		return dialer.PassGrant{Target: "ot/plant-7/plc", Address: address}
	}
	for _, c := range []struct {
		address, host string
		port          uint16
		leads         bool
	}{
		{"192.168.0.10:502", "plc", 502, true},
		{"192.168.0.10:502", "plc.plant-7", 502, true},
		{"192.168.0.10:502", "plc.plant-7.ot", 502, true},
		{"192.168.0.10:502", "plc.plant-7.ot.isthmus", 502, true},
		{"192.168.0.10:502", "plc.plant-8", 502, false},
		{"192.168.0.10:502", "plc", 503, false},
		{"192.168.0.10:502", "192.168.0.10", 502, true},
		{"192.168.0.10:502", "192.168.0.11", 502, false},
		{"192.168.0.10:502", "192.168.0.10", 22, false},
		{"[fd00::9]:502", "fd00::9", 502, true},
		{"127.0.0.1:22", "127.0.0.1", 22, false}, // it is another machine's
		{"127.0.0.1:22", "plc", 22, true},
		{"localhost:22", "localhost", 22, false},
		{"plc.factory.example:502", "plc.factory.example", 502, true},
		{"plc.factory.example:502", "PLC.factory.example", 502, true},
		{"", "plc", 502, true}, // another tenant's: the address is not told
		{"", "192.168.0.10", 502, false},
		{"unix:/run/x", "plc", 1, true},
		{"unix:/run/x", "/run/x", 1, false},
	} {
		if got := leadsTo(grant(c.address), c.host, c.port); got != c.leads {
			t.Errorf("%s:%d for %q: %v", c.host, c.port, c.address, got)
		}
	}
}

func TestPairs(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		local string
		want  string // of the first pair
	}{
		"one":                   {[]string{"plant-7/plc"}, "", "127.0.0.1:0"},
		"one, placed":           {[]string{"plant-7/plc"}, "127.0.0.1:502", "127.0.0.1:502"},
		"one, placed by itself": {[]string{"plant-7/plc=502"}, "", "127.0.0.1:502"},
		"placed twice":          {[]string{"plant-7/plc=502"}, "503", ""},
		"two and --local":       {[]string{"plant-7/plc", "plant-7/web"}, "503", ""},
		"an account":            {[]string{"root@plant-7/plc"}, "", ""},
		"no name":               {[]string{"=502"}, "", ""},
	} {
		got, err := connectPairs(c.args, c.local, false)
		if (err == nil) != (c.want != "") || err == nil && got[0].local != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestShellWords(t *testing.T) {
	for word, want := range map[string]string{
		"/usr/bin/isthmus": "/usr/bin/isthmus", "plant seven": "'plant seven'", "it's": `'it'\''s'`, "100%": "100%%", "": "''", "$(id)": "'$(id)'", "a;b": "'a;b'",
	} {
		if got := shellWord(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
	if got := quoted(`/home/a b/100%/"x"`); got != `"/home/a b/100%%/\"x\""` {
		t.Errorf("got %s", got)
	}
}

func TestConnectionLines(t *testing.T) {
	now := time.Now()
	var list []dialer.Session
	for range blockRows + 3 {
		list = append(list, dialer.Session{Target: "ot/plant-7/\x1b[2Jpress-4-with-a-long-name-that-goes-on-and-on", Since: now.Add(-time.Hour), Sent: 1536, Received: 20 << 20})
	}
	lines := connectionLines(list, now)
	if len(lines) != blockRows+2 || lines[0] != "15 connections\n" || lines[len(lines)-1] != "and 3 more\n" {
		t.Errorf("%q", lines)
	}
	for _, l := range lines {
		if len([]rune(l)) > blockWidth+1 || strings.ContainsRune(l, '\x1b') {
			t.Errorf("%q", l)
		}
	}
	if got := connectionLines(nil, now); len(got) != 1 || got[0] != "no connections\n" {
		t.Errorf("%q", got)
	}
}

// Programs that make the key of a target at the same time use the same one.
func TestOneKey(t *testing.T) {
	f := sshFiles{host: "press-4-ssh.plant-7.ot.isthmus", login: "service", root: t.TempDir()}
	keys := make([]ssh.PublicKey, 10)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			k, err := f.ensureKey()
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = k
		})
	}
	all.Wait()
	for _, k := range keys {
		if k == nil || string(k.Marshal()) != string(keys[0].Marshal()) {
			t.Fatal("there are two")
		}
	}
	left, err := os.ReadDir(filepath.Dir(f.key()))
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	if err := os.WriteFile(f.key(), []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := f.ensureKey(); err != nil || string(k.Marshal()) == string(keys[0].Marshal()) {
		t.Errorf("a key that cannot be read: %v", err)
	}
}

func TestKnownHosts(t *testing.T) {
	f := sshFiles{host: "h.isthmus", login: "service", root: t.TempDir()}
	read := func() string {
		b, err := os.ReadFile(f.known())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		g    dialer.PassGrant
		want string
	}{
		"nothing known":     {dialer.PassGrant{HostCA: "ssh-ed25519 CA"}, ""},
		"the machine's":     {dialer.PassGrant{HostKeys: []string{"ssh-ed25519 K1 root@press", "ssh-rsa K2"}, HostCA: "ssh-ed25519 CA"}, "h.isthmus ssh-ed25519 K1\nh.isthmus ssh-rsa K2\n"},
		"recorded":          {dialer.PassGrant{Recorded: true, HostKeys: []string{"ssh-ed25519 K1"}, HostCA: "ssh-ed25519 CA hosts"}, "@cert-authority h.isthmus ssh-ed25519 CA\n"},
		"lines in a line":   {dialer.PassGrant{HostKeys: []string{"ssh-ed25519 K1\n* ssh-ed25519 EVIL"}}, "h.isthmus ssh-ed25519 K1\n"},
		"nothing is a line": {dialer.PassGrant{Recorded: true}, ""},
	} {
		if err := f.writeHosts(c.g); err != nil {
			t.Fatal(err)
		}
		if got := read(); got != c.want || f.firstSeen() != (c.want == "") {
			t.Errorf("%s: %q, first seen %v", name, got, f.firstSeen())
		}
	}
	// What was seen first is forgotten once something is known.
	if err := f.writeHosts(dialer.PassGrant{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.seen()); err != nil {
		t.Error(err)
	}
	if err := f.writeHosts(dialer.PassGrant{HostKeys: []string{"ssh-ed25519 K1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.seen()); !os.IsNotExist(err) {
		t.Error("it is remembered")
	}
}

// Of grants for targets of one name that of the person's own tenant is meant; of others it has to be said which.
func TestWhichTargetIsMeant(t *testing.T) {
	now := time.Now()
	grant := func(target string, until time.Duration) dialer.PassGrant {
		return dialer.PassGrant{ID: target, Target: target, From: now.Add(-time.Hour), Until: now.Add(until)}
	}
	p := dialer.Pass{Grants: []dialer.PassGrant{
		grant("ot/plant-7/ssh", time.Hour), grant("it/plant-7/ssh", time.Hour), grant("it/plant-8/web", time.Hour), grant("x/plant-8/web", time.Hour), grant("ot/plant-7/old", -time.Minute),
	}}
	w := &world{clock: clock.NewFake(now)}
	for text, want := range map[string]string{
		"plant-7/ssh": "ot/plant-7/ssh", "it/plant-7/ssh": "it/plant-7/ssh", "it/plant-8/web": "it/plant-8/web", "plant-8/web": "?", "plant-7/old": "", "plant-7/none": "",
	} {
		name, err := parseTarget(text)
		if err != nil {
			t.Fatal(err)
		}
		s := &accessSession{session: &session{w: w, tenant: "ot"}}
		g, ok, err := s.pick(p, name)
		switch {
		case want == "?":
			if err == nil || ok {
				t.Errorf("%s: %v", text, g.ID)
			}
		case g.ID != want || ok != (want != "") || err != nil:
			t.Errorf("%s: %q, %v", text, g.ID, err)
		}
	}
}

// Programs that ssh starts find the same control plane; a secret is never among their arguments.
func TestTheSameConnectionAgain(t *testing.T) {
	w, _, _ := testWorld(map[string]string{"ISTHMUS_TOKEN": "secret"})
	a := &accessWay{w: w, n: &connection{w: w, context: "plant seven", servers: []string{"a:1", "b:2"}, pin: "3f0a", tokenFile: "op.token"}}
	got, err := a.again()
	if err != nil {
		t.Fatal(err)
	}
	here, _ := filepath.Abs("op.token")
	if want := "--context plant seven --server a:1 --server b:2 --pin 3f0a --token-file " + here; strings.Join(got, " ") != want {
		t.Errorf("got %q", got)
	}
	a.n.tokenFile = "-"
	if _, err := a.again(); err == nil {
		t.Error("standard input is read twice")
	}
}

func TestLabels(t *testing.T) {
	w, _, _ := testWorld(map[string]string{"ISTHMUS_CONFIG": filepath.Join(t.TempDir(), "contexts.yaml")})
	n := &connection{w: w, context: "../../etc/x y:z"}
	label, err := n.label(client.Config{})
	if err != nil || strings.ContainsAny(label, `/\: `) || !strings.HasPrefix(label, "context-") {
		t.Errorf("%q, %v", label, err)
	}
	n.servers = []string{"a:1"}
	one, _ := n.label(client.Config{Addresses: n.servers, Token: "t-1"})
	two, _ := n.label(client.Config{Addresses: n.servers, Token: "t-2"})
	if one == two || strings.Contains(one, "t-1") {
		t.Errorf("%q, %q", one, two)
	}
}
