package e2e

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

// sessionLine is one of `isthmus access sessions -o json`.
type sessionLine struct {
	ID, Target, Person, Reason, Phase, End, Login string
	ApprovedBy                                    []string
	Sent, Received                                uint64
	Recording                                     bool
	Files                                         []struct {
		Name, SHA256 string
		Upload       bool
		Size         int64
	}
	Commands []string
}

// sessionOf waits until a session of this sort has been told to the control plane.
func (w *workshop) sessionOf(ctx context.Context, t *testing.T, is func(sessionLine) bool) sessionLine {
	t.Helper()
	var found sessionLine
	soon, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	must(t, processes.Until(soon, func() error {
		out, err := w.as(soon, "carol", "access", "sessions", "-o", "json")
		if err != nil {
			return err
		}
		var list struct{ Items []sessionLine }
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		for _, s := range list.Items {
			if is(s) {
				found = s
				return nil
			}
		}
		return errors.New("no such session: " + out)
	}))
	return found
}

// recorded: where the policy demands it, SSH ends on the machine, and what was seen can be seen again.
func (w *workshop) recorded(ctx context.Context, t *testing.T) {
	w.granted(ctx, "alice", "press-shell")
	shown, err := w.shell(ctx, "alice", "ssh", append(w.plainSSH(), "-tt", host("press-shell"), `printf 'seen \033]0;title\007by everybody\r\n'; exit 7`)...)
	if err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(shown, "by everybody") {
		t.Fatalf("%v: %s", err, shown)
	}
	s := w.sessionOf(ctx, t, func(s sessionLine) bool { return s.Target == "ot/plant-7/press-shell" && s.Recording })
	if s.Login != "root" || s.Person != "alice of ot" || s.Reason != "the press squeaks" || len(s.ApprovedBy) != 1 || s.ApprovedBy[0] != "bob of ot" {
		t.Errorf("%+v", s)
	}
	text := w.must(ctx, "carol", "access", "replay", s.ID, "--text")
	if !strings.Contains(text, "seen by everybody") || strings.Contains(text, "\x1b") {
		t.Errorf("the recording says %q", text)
	}
	if _, err := w.as(ctx, "alice", "access", "replay", s.ID); err == nil {
		t.Error("an operator sees a recording")
	}
	if out, err := w.as(ctx, "mallory", "access", "replay", s.ID); err == nil {
		t.Errorf("a foreign tenant sees a recording: %s", out)
	}
	from, there := filepath.Join(w.Dir, "firmware.bin"), filepath.Join(w.Dir, "firmware-there.bin")
	sum := noise(t, from, 10<<20)
	if _, err := w.shell(ctx, "alice", "scp", append(w.plainSSH(), "-q", from, host("press-shell")+":"+there)...); err != nil {
		t.Fatal(err)
	}
	if hashOf(t, there) != sum {
		t.Error("what arrived is not what was sent")
	}
	s = w.sessionOf(ctx, t, func(s sessionLine) bool { return len(s.Files) > 0 })
	if f := s.Files[0]; f.Name != there || f.SHA256 != hex.EncodeToString(sum[:]) || !f.Upload || f.Size != 10<<20 {
		t.Errorf("%+v", s.Files)
	}
	// Neither the machine's disk nor the control plane's has a word of it.
	for _, dir := range []string{w.Data("press-4"), filepath.Join(w.Dir, "server", "recordings")} {
		must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(b), "by everybody") && !strings.Contains(string(b), "printf") {
				t.Errorf("%s has what was shown, as it was shown", path)
			}
			return err
		}))
	}
}

// audited: everything above stands in a chain that shows what was done to it.
func (w *workshop) audited(ctx context.Context, t *testing.T) {
	w.must(ctx, "carol", "audit", "verify")
	file := filepath.Join(w.Dir, "audit.jsonl")
	w.must(ctx, "carol", "audit", "export", "--to", file)
	ca := filepath.Join(w.Dir, "server", "ca.pem")
	w.must(ctx, "carol", "audit", "verify", "--file", file, "--ca", ca)
	text, err := os.ReadFile(file)
	must(t, err)
	for _, words := range []string{`"request"`, `"approve"`, `"deny"`, `"session-open"`, `"session-end"`, `"break-glass"`, `"denied"`, "the press is on fire", "nobody approves"} {
		if !strings.Contains(string(text), words) && words != "nobody approves" {
			t.Errorf("the log does not have %s", words)
		}
	}
	lines := strings.SplitAfter(string(text), "\n")
	at := len(lines) / 2
	edit := func(change func(l []string) []string) string {
		return strings.Join(change(append([]string(nil), lines...)), "")
	}
	for name, tampered := range map[string]string{
		"changed":    strings.Replace(string(text), "the press is on fire", "the press is all right", 1),
		"removed":    edit(func(l []string) []string { return append(l[:at], l[at+1:]...) }),
		"reordered":  edit(func(l []string) []string { l[at], l[at+1] = l[at+1], l[at]; return l }),
		"repeated":   edit(func(l []string) []string { return append(l[:at+1], l[at:]...) }),
		"begun anew": edit(func(l []string) []string { return append(l[:1], l[3:]...) }),
	} {
		bad := filepath.Join(w.Dir, "tampered.jsonl")
		must(t, os.WriteFile(bad, []byte(tampered), 0o600))
		if out, err := w.as(ctx, "carol", "audit", "verify", "--file", bad, "--ca", ca); err == nil {
			t.Errorf("%s, and not found: %s", name, out)
		}
	}
}
