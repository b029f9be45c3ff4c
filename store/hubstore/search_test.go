package hubstore

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFollowing(t *testing.T) {
	for prefix, want := range map[string]string{
		"a": "b", "az": "a{", "é": "ê", "\ud7ff": "\ue000", "a\U0010ffff": "b", "\U0010ffff\U0010ffff": "", "a\x7f": "a\u0080", "߿": "ࠀ", "\uffff": "\U00010000",
	} {
		got := following(prefix)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("after all that begin with %q comes %q, want %q", prefix, got, want)
		}
		if got != "" && !(prefix < got && prefix+"\U0010ffff\U0010ffff" < got) {
			t.Errorf("%q is not after all that begin with %q", got, prefix)
		}
	}
}

func TestShortened(t *testing.T) {
	for s, want := range map[string]string{"": "", "ab": "ab", "abc": "ab", "éàü": "éà", "é": "é"} {
		if got := shortened(s, 2); got != want {
			t.Errorf("%q becomes %q, want %q", s, got, want)
		}
	}
}

// Both databases refuse expressions that are some hundred levels deep.
func TestLongListsStayLow(t *testing.T) {
	parts := make([]fragment, 4096)
	for i := range parts {
		parts[i] = sqlf("@", dialect{}.bound("x"))
	}
	f := joined("AND", parts)
	depth, deepest := 0, 0
	for _, c := range f.text {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		deepest = max(deepest, depth)
	}
	if deepest > 13 || len(f.args) != 4096 || strings.Count(f.text, "?") != 4096 {
		t.Errorf("%d levels, %d arguments", deepest, len(f.args))
	}
}
