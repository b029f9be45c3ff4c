package agentnode_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/node/agentnode"
)

func TestRate(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "500000": 500000, "500k": 500000, "500kB": 500000, "2MB": 2e6, "2 MB/s": 2e6, "1.5MiB": 3 << 19, "1MiB/s": 1 << 20, "3g": 3e9, "1GiB": 1 << 30, "7B": 7,
		" 10m ": 1e7,
	} {
		var r agentnode.Rate
		if err := r.Set(text); err != nil || int64(r) != want {
			t.Errorf("%q is %d, %v; want %d", text, int64(r), err, want)
		}
	}
	for _, text := range []string{"", "fast", "-1", "k", "1e400", "NaN", "Inf", "1TB", "1 2", "9999999999999999"} {
		r := agentnode.Rate(5)
		if err := r.Set(text); fault.KindOf(err) != fault.Invalid || int64(r) != 5 {
			t.Errorf("%q is %d, %v", text, int64(r), err)
		}
	}
	r := agentnode.Rate(1500)
	if r.String() != "1500" || r.Type() != "RATE" {
		t.Error(r.String(), r.Type())
	}
}
