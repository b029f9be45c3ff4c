package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

// longList is an allowlist as a program writes it.
func longList(n int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: isthmus/v1\nkind: Allowlist\nmetadata: {tenant: ot, network: ot-cloud, name: all}\nspec:\n  rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "    - {name: site-%06d, sources: [100.%d.%d.%d/32], ports: [8883], note: ticket 4711}\n", i, i>>16, i>>8&255, i&255)
	}
	return []byte(b.String())
}

func TestALongList(t *testing.T) {
	const n = 20_000
	set, err := manifest.Parse("all.yaml", longList(n))
	if err != nil {
		t.Fatal(err)
	}
	if a := set.Objects()[0].(*resource.Allowlist); len(a.Spec.Rules) != n || a.Spec.Rules[n-1].Name != fmt.Sprintf("site-%06d", n-1) {
		t.Errorf("%d rules were read", len(a.Spec.Rules))
	}
	twice := append(longList(n), "    - {name: site-000007, sources: [10.0.0.0/8]}\n"...)
	if _, err := manifest.Parse("all.yaml", twice); err == nil || !strings.Contains(err.Error(), `spec.rules has "site-000007" twice`) {
		t.Errorf("a rule that stands twice: %v", err)
	}
}

func BenchmarkALongList(b *testing.B) {
	text := longList(100_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := manifest.Parse("all.yaml", text); err != nil {
			b.Fatal(err)
		}
	}
}
