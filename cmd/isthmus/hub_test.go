package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// hubShell runs commands against a hub in this process.
type hubShell struct {
	t   *testing.T
	env map[string]string
}

func (s *hubShell) run(args ...string) (code int, out, complaints string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	w := &world{
		in: strings.NewReader(""), out: &lockedWriter{w: &stdout}, err: &lockedWriter{w: &stderr}, clock: clock.System{},
		getenv: func(name string) string { return s.env[name] },
	}
	return run(context.Background(), w, append([]string{"hub"}, args...)), stdout.String(), stderr.String()
}

// wants runs a command that must work and returns what it prints.
func (s *hubShell) wants(args ...string) string {
	s.t.Helper()
	code, out, complaints := s.run(args...)
	if code != 0 {
		s.t.Fatalf("isthmus hub %s: %d %s", strings.Join(args, " "), code, complaints)
	}
	return out
}

func TestHubCommands(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	dir := filepath.Dir(w.Admin)
	local := &hubShell{t, nil}
	here := func(args ...string) []string { return append(args, "--data-dir", dir, "--hub", hubtest.Contoso) }

	owner := strings.TrimSpace(local.wants(here("connection-string", "--policy", "iothubowner")...))
	remote := &hubShell{t, map[string]string{"ISTHMUS_HUB_CONNECTION_STRING": owner}}
	there := func(args ...string) []string { return append(args, "--address", w.HTTPS, "--ca", w.CAFile) }

	if out := local.wants(here("device", "create", "sensor-1", "sensor-2")...); out != "device sensor-1 created\ndevice sensor-2 created\n" {
		t.Errorf("create prints %q", out)
	}
	remote.wants(there("device", "create", "sensor-3", "--disabled")...)
	code, _, complaints := remote.run(there("device", "create", "sensor-3")...)
	if code != exitFailed || !strings.Contains(complaints, `"sensor-3" exists already`) {
		t.Errorf("created twice: %d %s", code, complaints)
	}
	list := remote.wants(there("device", "list")...)
	if lines := strings.Split(list, "\n"); len(lines) != 5 || strings.Join(strings.Fields(lines[3]), " ") != "sensor-3 disabled no never" {
		t.Errorf("list prints\n%s", list)
	}
	if names := local.wants(here("device", "list", "-o", "name")...); names != "sensor-1\nsensor-2\nsensor-3\n" {
		t.Errorf("names are %q", names)
	}
	cs, err := sas.ParseConnectionString(local.wants(here("device", "connection-string", "sensor-1")...))
	if err != nil || cs.HostName != hubtest.Contoso || cs.DeviceID != "sensor-1" {
		t.Errorf("%+v, %v", cs, err)
	}
	for _, out := range []string{remote.wants(there("device", "show", "sensor-1")...), remote.wants(there("device", "show", "sensor-1", "-o", "json")...), list} {
		if strings.Contains(out, cs.Key) {
			t.Error("a key is shown without being asked for")
		}
	}

	h := w.Hub(hubtest.Contoso)
	if err := h.SubmitAll(hub.Identity{Device: "sensor-1"}, []hub.Message{
		{Body: []byte("{\"t\": 21.5}\x1b[2J"), Properties: map[string]string{"line": "3"}}, {Body: []byte{0xff, 0xfe}},
	}); err != nil {
		t.Fatal(err)
	}
	text := remote.wants(there("events")...)
	if !strings.Contains(text, "/0  sensor-1  {\"t\": 21.5}?[2J  line=3\n") || !strings.Contains(text, "/1  sensor-1  (2 bytes)\n") {
		t.Errorf("events prints\n%s", text)
	}
	if out := local.wants(here("events", "--follow", "--limit", "1", "-o", "json")...); !strings.Contains(out, `"body":"eyJ0IjogMjEuNX0bWzJK"`) {
		t.Errorf("events prints %s", out)
	}
	remote.wants(there("device", "delete", "sensor-2")...)

	for name, c := range map[string]struct {
		shell *hubShell
		args  []string
		says  []string
	}{
		"which hub":            {local, []string{"device", "list", "--data-dir", dir}, []string{"next: name one with --hub: it/it-cloud/fabrikam, ot/ot-cloud/contoso"}},
		"no hub here":          {local, []string{"device", "list", "--data-dir", t.TempDir()}, []string{"no hub runs here", "--connection-file"}},
		"an unknown device":    {remote, there("device", "show", "sensor-9"), []string{`no device "sensor-9"`}},
		"an untrusted hub":     {remote, []string{"events", "--address", w.HTTPS}, []string{"is not trusted", "--ca FILE"}},
		"nobody there":         {remote, []string{"events", "--address", "127.0.0.1:1"}, []string{"cannot be reached", "--address"}},
		"a wrong place":        {remote, there("events", "--from", "yesterday"), []string{"start, end"}},
		"no connection string": {&hubShell{t, map[string]string{"ISTHMUS_HUB_CONNECTION_STRING": "secret"}}, there("events"), []string{"this is no connection string"}},
		"a device's string":    {&hubShell{t, map[string]string{"ISTHMUS_HUB_CONNECTION_STRING": cs.String()}}, there("events"), []string{"a policy's is needed"}},
	} {
		code, _, complaints := c.shell.run(c.args...)
		for _, want := range c.says {
			if code != exitFailed || !strings.Contains(complaints, want) {
				t.Errorf("%s: %d %s, want %q", name, code, complaints, want)
			}
		}
		if strings.Contains(complaints, cs.Key) || strings.Contains(complaints, "secret\n") {
			t.Errorf("%s tells a secret: %s", name, complaints)
		}
	}
	file := filepath.Join(t.TempDir(), "service.connection")
	if err := os.WriteFile(file, []byte(owner+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	local.wants(there("device", "list", "--connection-file", file)...)
}

func TestHubKeyCommands(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	dir := filepath.Dir(w.Admin)
	local := &hubShell{t, nil}
	here := func(args ...string) []string { return append(args, "--data-dir", dir, "--hub", hubtest.Contoso) }
	key := func(args ...string) string {
		t.Helper()
		cs, err := sas.ParseConnectionString(local.wants(here(args...)...))
		if err != nil {
			t.Fatal(err)
		}
		return cs.Key
	}
	local.wants(here("device", "create", "sensor-1")...)
	for name, c := range map[string]struct{ show, renew []string }{
		"policy service":  {[]string{"connection-string", "--policy", "service"}, []string{"policy", "regenerate", "service"}},
		"device sensor-1": {[]string{"device", "connection-string", "sensor-1"}, []string{"device", "regenerate", "sensor-1"}},
	} {
		show := func(which string) string { return key(append(c.show, "--key", which)...) }
		renew := func(which, says string) {
			t.Helper()
			code, out, complaints := local.run(here(append(c.renew, "--key", which)...)...)
			if code != 0 || out != name+" "+says+"\n" {
				t.Errorf("%s prints %q %s", name, out, complaints)
			}
			for _, secret := range []string{show("primary"), show("secondary")} {
				if strings.Contains(out+complaints, secret) {
					t.Errorf("%s: a key is shown without being asked for", name)
				}
			}
		}
		primary, secondary := show("primary"), show("secondary")
		if primary == secondary || key(c.show...) != primary {
			t.Errorf("%s: its keys are one, or the primary is not the first", name)
		}
		renew("swap", "has its keys swapped")
		if show("primary") != secondary || show("secondary") != primary {
			t.Errorf("%s: not swapped", name)
		}
		renew("secondary", "has a new secondary key")
		if now := show("secondary"); show("primary") != secondary || now == primary || now == secondary {
			t.Errorf("%s: another key than the secondary was renewed", name)
		}
		for _, wrong := range [][]string{c.renew, append(c.renew, "--key", "both"), append(c.show, "--key", "swap")} {
			if code, _, complaints := local.run(here(wrong...)...); code != exitUsage || !strings.Contains(complaints, "next: ") {
				t.Errorf("%v: %d %s", wrong, code, complaints)
			}
		}
	}
	if out := local.wants(here("policy", "list")...); !strings.Contains(out, "service            ServiceConnect\n") || strings.Contains(out, key("connection-string")) {
		t.Errorf("policies:\n%s", out)
	}

	// Over HTTPS the owner may, until the key it came with is gone; nobody else may.
	there := func(args ...string) []string { return append(args, "--address", w.HTTPS, "--ca", w.CAFile) }
	as := func(policy string) *hubShell {
		return &hubShell{t, map[string]string{"ISTHMUS_HUB_CONNECTION_STRING": strings.TrimSpace(local.wants(here("connection-string", "--policy", policy)...))}}
	}
	code, _, complaints := as("registryReadWrite").run(there("policy", "list")...)
	if code != exitFailed || !strings.Contains(complaints, "does not have every right") || !strings.Contains(complaints, "iothubowner") {
		t.Errorf("%d %s", code, complaints)
	}
	owner := as("iothubowner")
	if out := owner.wants(there("policy", "list", "-o", "json")...); !strings.Contains(out, `"name": "registryRead"`) || strings.Contains(strings.ToLower(out), "key") {
		t.Errorf("%s", out)
	}
	owner.wants(there("policy", "regenerate", "iothubowner", "--key", "primary")...)
	code, _, complaints = owner.run(there("policy", "list")...)
	if code != exitFailed || !strings.Contains(complaints, "may have been renewed") {
		t.Errorf("with the old key: %d %s", code, complaints)
	}
}
