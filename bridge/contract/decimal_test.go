package contract

import (
	"math/big"
	"strings"
	"testing"
)

// short tells whether exact arithmetic with a number is cheap.
func short(s string) bool {
	i := strings.IndexAny(s, "eE")
	return len(s) < 100 && (i < 0 || len(s)-i < 5)
}

func ratio(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic(s)
	}
	return r
}

func TestNumbersCompare(t *testing.T) {
	list := []string{"-1e999999999999", "-12", "-1.5", "-0.001", "0", "1e-999999999999", "0.0009", "0.001", "1", "9007199254740992", "9007199254740993", "1e999999999999"}
	for i, a := range list {
		for j, b := range list {
			var d decimal
			d.read([]byte(b))
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := compare([]byte(a), &d); got != want {
				t.Errorf("%s to %s is %d", a, b, got)
			}
		}
	}
}
