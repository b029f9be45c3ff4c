package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
)

// What somebody with the database did is told by the command, whatever it was.
func TestVerifyTellsWhatWasDone(t *testing.T) {
	for name, tc := range map[string]struct {
		sql  []string
		want string
	}{
		"nothing": {nil, ""},
		"removed": {[]string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence = 2"}, "the audit chain of tenant ot is broken at record 2: it is missing, it was removed"},
		"changed": {[]string{"UPDATE audit SET who = 'mallory' WHERE tenant = 'ot' AND sequence = 2"}, "record 2: its content does not fit its hash, it was changed"},
		"reordered": {[]string{"UPDATE audit SET sequence = -2 WHERE tenant = 'ot' AND sequence = 2", "UPDATE audit SET sequence = 2 WHERE tenant = 'ot' AND sequence = 3",
			"UPDATE audit SET sequence = 3 WHERE tenant = 'ot' AND sequence = -2"}, "record 2: the records were reordered: record 3 stands before it"},
		"inserted": {[]string{"UPDATE audit SET sequence = -sequence WHERE tenant = 'ot' AND sequence >= 2", "UPDATE audit SET sequence = 1 - sequence WHERE tenant = 'ot' AND sequence < 0",
			"INSERT INTO audit SELECT tenant, 2, at, 'mallory', operation, kind, path, before, after, why, hash, hash FROM audit WHERE tenant = 'ot' AND sequence = 1"}, "record 2: it was inserted"},
		"cut off": {[]string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence > 2", "UPDATE audit_heads SET sequence = 2, hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 2) WHERE tenant = 'ot'"},
			"record 3: the chain ends early, it was cut off: a checkpoint signed at "},
		"cut off, the checkpoint too": {[]string{"DELETE FROM audit_checkpoints", "DELETE FROM audit WHERE tenant = 'ot' AND sequence > 2",
			"UPDATE audit_heads SET sequence = 2, hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 2) WHERE tenant = 'ot'"}, "record 3: the chain ends early, it was cut off: a checkpoint signed at "},
		"a forged checkpoint": {[]string{"UPDATE audit_checkpoints SET sequence = 3, hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 3) WHERE tenant = 'ot'"},
			"a checkpoint of the audit chain of tenant ot is forged, that of record 3: the signature does not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			noTrace(t)
			dir := t.TempDir()
			p, err := startPlane(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.stop)
			env := map[string]string{"ISTHMUS_SERVER": p.address, "ISTHMUS_PIN": jointoken.Pin(p.authority.Certificate()), "ISTHMUS_TOKEN": p.admin}
			command := func(in string, args ...string) (code int, out, errs *screen) {
				w, out, errs := testWorld(env)
				w.in = strings.NewReader(in)
				return run(t.Context(), w, args), out, errs
			}
			for _, display := range []string{"one", "two", "three", "four"} {
				if code, _, errs := command("apiVersion: isthmus/v1\nkind: Tenant\nmetadata: {name: ot}\nspec: {displayName: "+display+"}\n", "apply", "-f", "-", "--reason", display); code != exitDone {
					t.Fatal(errs.String())
				}
			}
			_, made, _ := command("", "audit", "checkpoint", "--tenant", "ot", "-o", "json")
			kept := keptFile(t, made.String())
			db := databasetest.Raw(t, filepath.Join(dir, "control.db"))
			for _, s := range append([]string{"DROP TRIGGER audit_stays_as_written", "DROP TRIGGER audit_stays", "DROP TRIGGER audit_checkpoints_stay_as_written",
				"DROP TRIGGER audit_checkpoints_stay"}, tc.sql...) {
				if _, err := db.Exec(s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			code, out, errs := command("", "audit", "verify", "--checkpoint", kept)
			if tc.want == "" && (code != exitDone || !strings.Contains(out.String(), "intact")) || tc.want != "" && (code != exitFailed || !strings.Contains(errs.String(), tc.want)) {
				t.Errorf("%d\n%s%s", code, out.String(), errs.String())
			}
			// The same is told of an export, which is made all the same.
			file := filepath.Join(dir, "ot.jsonl")
			code, out, errs = command("", "audit", "export", "--tenant", "ot", "--to", file)
			if (code == exitDone) != (tc.want == "" || name == "cut off, the checkpoint too") {
				t.Errorf("export: %d\n%s%s", code, out.String(), errs.String())
			}
			code, out, errs = command("", "audit", "verify", "--file", file, "--ca", keptFile(t, string(p.authority.CertificatePEM())), "--checkpoint", kept)
			if tc.want == "" && code != exitDone || tc.want != "" && (code != exitFailed || !strings.Contains(errs.String(), tc.want)) {
				t.Errorf("of the export: %d\n%s%s", code, out.String(), errs.String())
			}
		})
	}
}

func keptFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
