package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A file that somebody else wrote is quoted in an error, and must not repaint the terminal on which that stands.
func TestErrorsDoNotPaintTerminals(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"db.owner": "$TTL 60\n\x1b[2Jok.elsewhere.example. A 10.0.0.1\n",
		"db.type":  "$TTL 60\nwww \x1b]0;owned\x07 10.0.0.1\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w, out, errs := testWorld(map[string]string{})
		code := run(t.Context(), w, []string{"dns", "why", "www.corp.example", "--zone-file", "corp.example=" + file})
		if said := out.String() + errs.String(); code == exitDone || !strings.Contains(said, file) || strings.ContainsAny(said, "\x1b\x07") {
			t.Errorf("%s: code %d: %q", name, code, said)
		}
	}
}

// A device chooses what it reports, and a person looks at it as JSON on a terminal.
func TestDocumentsDoNotPaintTerminals(t *testing.T) {
	said := "\u009b2J\u007f\u0080 ü €\u00a0 \x1b]0;owned\x07"
	for _, format := range []string{outJSON, outYAML} {
		w, out, _ := testWorld(map[string]string{})
		o := output{format: format}
		if err := o.write(w, map[string]string{"reported": said}); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if strings.ContainsAny(text, "\u007f\u0080\u009b\x1b\x07") {
			t.Errorf("%s: %q", format, text)
		}
		var back map[string]string
		if err := yaml.Unmarshal([]byte(text), &back); err != nil || back["reported"] != said { // JSON is YAML
			t.Errorf("%s: %q, %v", format, back, err)
		}
	}
}
