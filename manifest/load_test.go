package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
)

const tenant = "apiVersion: isthmus/v1\nkind: Tenant\nmetadata: {name: NAME}\n"

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadReadsDirectoriesFilesAndStandardInput(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.yaml", strings.ReplaceAll(tenant, "NAME", "b"))
	write(t, dir, "a.yml", strings.ReplaceAll(tenant, "NAME", "a"))
	write(t, dir, "notes.txt", "not: [a manifest")
	write(t, dir, "sub/c.yaml", strings.ReplaceAll(tenant, "NAME", "c"))
	one := write(t, t.TempDir(), "one.manifest", strings.ReplaceAll(tenant, "NAME", "one"))
	set, err := manifest.Load([]string{dir, one, "-"}, strings.NewReader(strings.ReplaceAll(tenant, "NAME", "in")))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range set.Documents {
		names = append(names, d.Object.Head().Metadata.Name)
	}
	if got := strings.Join(names, " "); got != "a b one in" {
		t.Errorf("read %s", got)
	}
	if len(set.Notes) != 1 || !strings.Contains(set.Notes[0], "sub") {
		t.Errorf("notes %q", set.Notes)
	}
}

func TestLoadTellsWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	outside := write(t, t.TempDir(), "secret.yaml", "password: x")
	linked := filepath.Join(dir, "linked")
	write(t, linked, "a.yaml", strings.ReplaceAll(tenant, "NAME", "a"))
	if err := os.Symlink(outside, filepath.Join(linked, "z.yaml")); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "inside")
	write(t, inside, "data/a.yaml", strings.ReplaceAll(tenant, "NAME", "a"))
	if err := os.Symlink("data/a.yaml", filepath.Join(inside, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	weird := filepath.Join(dir, "weird")
	for _, d := range []string{empty, filepath.Join(weird, "d"), filepath.Join(weird, "x.yaml")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("d", filepath.Join(weird, "y.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, want string
		kind       fault.Kind
	}{
		{filepath.Join(dir, "nothing.yaml"), "there is no file", fault.NotFound},
		{linked, "leads out of its directory", fault.Invalid},
		{empty, "holds no file", fault.Invalid},
		{weird, "no regular file", fault.Invalid},
	} {
		_, err := manifest.Load([]string{c.path}, nil)
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.want) || fault.Next(err) == "" {
			t.Errorf("%s: %v", c.path, err)
		}
	}
	if set, err := manifest.Load([]string{inside}, nil); err != nil || len(set.Documents) != 1 {
		t.Errorf("a link inside its directory: %v", err)
	}
}

func TestLoadFindsTheProblemsOfAllFilesAndGivesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "1.yaml", strings.ReplaceAll(tenant, "NAME", "ot"))
	write(t, dir, "2.yaml", strings.ReplaceAll(tenant, "NAME", "OT"))
	write(t, dir, "3.yaml", strings.ReplaceAll(tenant, "NAME", "ot"))
	set, err := manifest.Load([]string{dir}, nil)
	if set != nil || err == nil {
		t.Fatal(set, err)
	}
	want := filepath.Join(dir, "2.yaml") + `:3: metadata.name: "OT" is not a name; names are 1 to 63 of a-z, 0-9 and '-', and begin and end with a letter or digit` + "\n" +
		filepath.Join(dir, "3.yaml") + ":1: Tenant ot is given twice, first at " + filepath.Join(dir, "1.yaml") + ":1; remove one"
	if got := fault.Message(err); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
