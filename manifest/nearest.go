package manifest

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Nearest returns the known word that a mistyped one most likely meant, or "" when none is near: at most a third of the word (and
// at least one letter) may differ, upper and lower case aside. The first of equally near words wins.
func Nearest(word string, known []string) string {
	low := strings.ToLower(word)
	best, bestAt := "", max(1, len(low)/3)+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(low, strings.ToLower(k)); d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

// didYouMean returns `did you mean "x"?`, or fallback when nothing is near.
func didYouMean(word string, known []string, fallback string) string {
	if len(word) > 100 { // comparing costs its square
		return fallback
	}
	if n := Nearest(word, known); n != "" {
		return `did you mean "` + n + `"?`
	}
	return fallback
}
