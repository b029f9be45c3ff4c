package blob

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"pgregory.net/rapid"
)

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "logs/2026/today.txt", "é/日本.bin", "a b?#%&*:|<>\"", strings.Repeat("a", 1024), "...a", ".hidden/x"} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a.", "a\nb", "a\x00", "a\u0085b", `a\b`, "a\xff", strings.Repeat("a", 1025), "../../etc/passwd"} {
		if err := CheckName(bad); fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestEscapeIsAFileNameOfItsOwn(t *testing.T) {
	for part, want := range map[string]string{
		"plain-1_2.txt": "plain-1_2.txt", "a b": "a%20b", "..": "%2E%2E", ".x": "%2Ex", "50%": "50%25", "é": "é", "a:b#": "a%3Ab%23", "x.": "x%2E", "\xff": "%FF",
	} {
		if got := escape(part); got != want && !foldsCase {
			t.Errorf("%q became %q, want %q", part, got, want)
		}
	}
	part := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"..", ".", "%2E", "a", "A", "a%", "~"}), rapid.StringMatching(`[#.~%a]{70,400}`),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		a, b := part.Draw(t, "a"), part.Draw(t, "b")
		if rapid.Bool().Draw(t, "alike") {
			b = escape(a)
		}
		ea, eb := escape(a), escape(b)
		if (ea == eb) != (a == b) {
			t.Fatalf("%q and %q became %q and %q", a, b, ea, eb)
		}
		if a != "" && (len(ea) > 255 || ea[0] == '.' || strings.ContainsAny(ea, "/\\\x00:") || path.Clean(ea) != ea || !utf8.ValidString(ea)) {
			t.Fatalf("%q became %q", a, ea)
		}
	})
}
