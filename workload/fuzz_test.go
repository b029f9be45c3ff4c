package workload_test

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

// FuzzTokens: whatever a stranger sends is refused in words, unless it is one of ours to the letter.
func FuzzTokens(f *testing.F) {
	w := newWorld(f)
	good := w.genuine().text(f)
	parts := strings.Split(good, ".")
	for _, seed := range []string{
		good, "", "..", parts[0] + "..", "." + parts[1] + ".", good + ".", segment([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		segment([]byte(`{"alg":"ES256","typ":"`+workload.Type+`","x5c":["AAAA"]}`)) + "." + parts[1] + "." + parts[2],
		segment([]byte(`{"alg":"ES256","typ":"`+workload.Type+`","x5c":[`)) + "." + parts[1] + "." + parts[2], parts[0] + "." + segment([]byte(`{"aud":[]}`)) + "." + parts[2],
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		workload.Is(text)
		p, err := w.verify(text)
		switch kind := fault.KindOf(err); {
		case err == nil && text != good:
			t.Fatalf("it is taken, for %+v", p)
		case err != nil && kind != fault.Unauthenticated && kind != fault.Expired:
			t.Fatalf("refused with %v", err)
		case err != nil && fault.Message(err) == "":
			t.Fatalf("refused without words: %v", err)
		}
	})
}

// FuzzHeaders: the same for what stands in the header of a token that its own certificate has signed.
func FuzzHeaders(f *testing.F) {
	w := newWorld(f)
	g := w.genuine()
	chain := g.header["x5c"].([]string)[0]
	for _, seed := range []string{
		`{"alg":"ES256","typ":"` + workload.Type + `","x5c":["CHAIN"]}`, `{"x5c":["CHAIN","CHAIN"],"alg":"ES256","typ":"` + workload.Type + `"}`,
		`{"alg":"none","typ":"` + workload.Type + `","x5c":["CHAIN"]}`, `{"alg":"ES256","alg":"HS256"}`, `{}`, `[]`, `null`, `{"x5c":{}}`, `{"crit":["b64"],"b64":false}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g := *g
		if g.raw = strings.ReplaceAll(text, "CHAIN", chain); g.raw == "" {
			return
		}
		p, err := w.verify(g.text(t))
		if err == nil && (p.Workload != string(wt.Bridge) || !strings.Contains(text, `"ES256"`) && !strings.Contains(text, `\u`)) {
			t.Fatalf("%q is taken, for %+v", text, p)
		}
	})
}
