package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityNamesWhatExists looks for each test and each file that security.md names.
func TestSecurityNamesWhatExists(t *testing.T) {
	b, err := os.ReadFile("security.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := regexp.MustCompile("`([a-z0-9/]+): ((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(b), -1)
	if len(tests) < 60 {
		t.Fatalf("only %d tests are named", len(tests))
	}
	source := map[string]string{}
	for _, m := range tests {
		pkg, name := m[1], m[2]
		if _, read := source[pkg]; !read {
			files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				source[pkg] += string(text)
			}
		}
		if !strings.Contains(source[pkg], "func "+name+"(") {
			t.Errorf("%s has no %s", pkg, name)
		}
	}
	places := regexp.MustCompile("`((?:access|agent|agreement|audit|bridge|client|cmd|control|eventlog|gateway|hub|identity|link|localsocket|manifest|membership|node|render|resolver|resource|signin|storage|store|test|wire|workload)/[a-z0-9/_.]*)`").FindAllStringSubmatch(string(b), -1)
	for _, m := range places {
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Errorf("there is no %s", m[1])
		}
	}
}
