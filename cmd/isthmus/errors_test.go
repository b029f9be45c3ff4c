package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
