package audit_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/audit"
)

// block returns the first block of docs/audit.md in a language.
func block(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(page), "```"+language+"\n")
	text, _, closed := strings.Cut(after, "```")
	if !ok || !closed {
		t.Fatalf("no block of %s in docs/audit.md", language)
	}
	return text
}

// Auditors write programs after the page, so its example has to be right, and has to stay right.
func TestThePagesExample(t *testing.T) {
	v := audit.NewVerifier("ot", audit.Place{}, nil)
	for line := range strings.Lines(block(t, "json")) {
		if !strings.HasPrefix(line, `{"type":"record"`) {
			continue
		}
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if err := v.Record(r); err != nil {
			t.Fatal(err)
		}
		if r.Hash != r.Digest() {
			t.Errorf("record %d of the page has the hash %s", r.Sequence, r.Digest())
		}
		again, err := audit.Line{Record: &r}.Append(nil)
		if err != nil || string(again) != line {
			t.Errorf("written %s, on the page %s, %v", again, line, err)
		}
	}
	if err := v.End(&audit.Place{Sequence: 2}); err != nil {
		t.Error(err)
	}
}

// The page's own program finds what ours finds.
func TestThePagesProgram(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it is run on Linux only")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is not installed: apt-get install python3")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	a, other := authority(t, "isthmus.test"), authority(t, "isthmus.test")
	whole := chain(t, "ot", 30)
	odd, err := audit.Record{Tenant: "ot", Time: time.Date(1970, 1, 1, 0, 0, 1, 5, time.UTC), Who: "Ödön <o@x> & \u2028 \\ \"", Before: json.RawMessage(`{"<":1.50e+3}`), Why: "\n"}.Follow(whole[29].Place())
	if err != nil {
		t.Fatal(err)
	}
	whole = append(whole, odd)
	good := export(t, a, whole)
	changed := slices.Clone(good)
	r := *changed[18].Record
	r.Why = "nobody asked"
	changed[18].Record = &r
	forged := slices.Clone(good)
	c := *forged[11].Checkpoint
	c.At = c.At.Add(time.Second)
	forged[11].Checkpoint = &c
	for name, content := range map[string][]byte{
		"check.py": []byte(block(t, "python")), "ca.pem": a.CertificatePEM(), "other.pem": other.CertificatePEM(),
		"good": write(t, good...), "changed": write(t, changed...), "forged": write(t, forged...), "removed": write(t, slices.Delete(slices.Clone(good), 18, 19)...),
		"part": write(t, export(t, a, whole[20:])...),
	} {
		if err := os.WriteFile(at(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ file, ca, want string }{
		{"good", "ca.pem", "intact\n"},
		{"part", "ca.pem", "intact\n"},
		{"changed", "ca.pem", "line 19: record 17 is not as it was written, or not where it was\n"},
		{"removed", "ca.pem", "line 19: record 18 is not as it was written, or not where it was\n"},
		{"forged", "ca.pem", "line 12: the checkpoint is forged, or the records before it were rewritten\n"},
		{"good", "other.pem", "line 12: the checkpoint is forged, or the records before it were rewritten\n"},
	} {
		var said bytes.Buffer
		cmd := exec.Command(python, at("check.py"), at(tc.file), at(tc.ca))
		cmd.Stdout, cmd.Stderr = &said, &said
		err := cmd.Run()
		if said.String() != tc.want || (err == nil) != (tc.want == "intact\n") {
			t.Errorf("%s with %s: %v, %s", tc.file, tc.ca, err, said.String())
		}
	}
}
