package manifest

import (
	"fmt"
	"strings"
	"testing"
)

// In a list of a hundred thousand rules, the line is what a person needs.
func TestProblemsOfItemsNameTheirLine(t *testing.T) {
	const head = "apiVersion: isthmus/v1\nkind: %s\nmetadata: {tenant: ot, %sname: a}\nspec:\n"
	doc := func(kind, network, body string) string { return fmt.Sprintf(head, kind, network) + body }
	network := "network: cloud, "
	for name, c := range map[string]struct {
		text string
		line int
		want string
	}{
		"a rule": {doc("Allowlist", network, "  rules:\n    - {name: a, sources: [203.0.113.0/24]}\n    - name: b\n      sources: []\n"), 7, "the rule b has no sources"},
		"twice": {doc("Allowlist", network, "  rules:\n    - {name: a, sources: [203.0.113.0/24]}\n    - {name: b, sources: [203.0.113.0/24]}\n"+
			"    - {name: a, sources: [203.0.113.0/24]}\n"), 8, `has "a" twice`},
		"by number": {doc("Gateway", network, "  listeners: [{name: l, port: 1}]\n  groups: [{name: g, targets: [a]}]\n  routes:\n    - {group: g}\n\n"+
			"    - {names: [b.example], group: h}\n"), 10, `spec.routes[1] leads to the group "h"`},
		"two rules": {doc("Ruleset", "", "  rules:\n    - {name: a, domain: a.example, targets: [10.0.0.1]}\n    - {name: b, domain: a.example, targets: [10.0.0.1]}\n"), 6, "are both for"},
		"an anchor": {doc("Ruleset", "", "  rules:\n    - &x {name: a, domain: a.example, targets: []}\n"), 6, "the rule a has 0 targets"},
		"no item":   {doc("Gateway", network, "  listeners: []\n"), 5, "spec.listeners is empty"},
	} {
		for _, before := range []int{0, 3} {
			s := &Set{}
			s.parse("f.yaml", []byte(strings.Repeat("---\n", before)+c.text))
			if len(s.problems) != 1 || s.problems[0].Line != c.line+before || !strings.Contains(s.problems[0].Message, c.want) {
				t.Errorf("%s, %d lines down: %v, want line %d: %s", name, before, s.problems, c.line+before, c.want)
			}
		}
	}
}
