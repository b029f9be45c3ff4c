package settings_test

import (
	"os"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/simulate/settings"
)

// documented renders a setting as docs/simulate.md shows it.
func documented(d settings.Definition) string {
	code := func(texts ...string) string {
		var out []string
		for _, t := range texts {
			if t != "" {
				out = append(out, "`"+t+"`")
			}
		}
		return strings.Join(out, ", ")
	}
	flag := ""
	if d.Flag != "" {
		flag = "--" + d.Flag
	}
	env := []string{d.Env}
	if d.Env == d.Name { // theirs: aliases count in both places
		env = append(env, d.Alias...)
	}
	words := strings.ReplaceAll(d.Words, "|", "\\|")
	if d.Alias != nil && d.Env != d.Name {
		words += " (also " + strings.Join(d.Alias, ", ") + ")"
	}
	preset := d.Default
	if strings.Contains(preset, "$") {
		preset = code(preset)
	}
	return "| " + strings.Join([]string{code(d.Name), code(env...), code(flag), preset, words}, " | ") + " |"
}

func TestEverySettingIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/simulate.md")
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, d := range settings.Table() {
		if row := documented(d); !strings.Contains(string(b), row+"\n") {
			missing = append(missing, row)
		}
	}
	if len(missing) > 0 {
		t.Errorf("docs/simulate.md lacks these rows, or has others:\n%s", strings.Join(missing, "\n"))
	}
}

func TestTheTableIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range settings.Table() {
		for _, key := range []string{strings.ToLower(d.Name), "env " + strings.ToLower(d.Env), "flag " + d.Flag} {
			if seen[key] && !strings.HasSuffix(key, " ") {
				t.Errorf("%s stands in it twice", key)
			}
			seen[key] = true
		}
		if d.Words == "" {
			t.Errorf("%s has no words", d.Name)
		}
	}
}
