package main

import (
	"os"
	"regexp"
	"testing"
)

// TestParityNamesCommandsThatExist looks up every command that a parity report says to use.
func TestParityNamesCommandsThatExist(t *testing.T) {
	root := newRoot(&world{getenv: func(string) string { return "" }})
	found := 0
	for _, file := range []string{"../../hub/parity/catalogue.go", "../../hub/migration/enrollments.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`isthmus ((?:[a-z0-9][a-z0-9-]* )*[a-z0-9][a-z0-9-]*)((?: --[a-z-]+(?: [A-Z]+)?)*)`).FindAllStringSubmatch(string(text), -1) {
			words := regexp.MustCompile(`\S+`).FindAllString(m[1], -1)
			c, rest, err := root.Find(words)
			if err != nil || c == root || c.HasSubCommands() && len(rest) > 0 {
				t.Errorf("%s: there is no command %q", file, m[0])
				continue
			}
			found++
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(m[2], -1) {
				if name := regexp.MustCompile(`^-+`).ReplaceAllString(flag, ""); c.Flags().Lookup(name) == nil && name != "help" {
					t.Errorf("%s: %q has no --%s", file, c.CommandPath(), name)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d commands were found", found)
	}
}
