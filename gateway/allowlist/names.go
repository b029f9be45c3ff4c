package allowlist

import (
	"slices"
	"strings"
)

// nameSet is the names a rule holds for.
type nameSet struct {
	exact    []string // sorted
	suffixes []string // sorted: for "*.example.net" it has "example.net"
}

func newNameSet(patterns []string) nameSet {
	var s nameSet
	wild := 0
	for _, p := range patterns {
		if strings.HasPrefix(p, "*.") {
			wild++
		}
	}
	if wild == 0 {
		return nameSet{exact: sorted(patterns)}
	}
	s.suffixes = make([]string, 0, wild)
	for _, p := range patterns {
		if suffix, ok := strings.CutPrefix(p, "*."); ok {
			s.suffixes = append(s.suffixes, suffix)
		} else {
			s.exact = append(s.exact, p)
		}
	}
	slices.Sort(s.exact)
	slices.Sort(s.suffixes)
	return s
}

// all tells whether no name is asked for.
func (s *nameSet) all() bool { return len(s.exact) == 0 && len(s.suffixes) == 0 }

// has tells whether the set holds for a name; "" is a client that sent none.
func (s *nameSet) has(name string) bool {
	if s.all() {
		return true
	}
	if name == "" {
		return false
	}
	if _, ok := slices.BinarySearch(s.exact, name); ok {
		return true
	}
	if len(s.suffixes) <= 4 {
		for _, suffix := range s.suffixes {
			if below(name, suffix) {
				return true
			}
		}
		return false
	}
	for rest, ok := parent(name); ok; rest, ok = parent(rest) {
		if _, found := slices.BinarySearch(s.suffixes, rest); found {
			return true
		}
	}
	return false
}

// below tells whether name has one or more labels in front of suffix.
func below(name, suffix string) bool {
	i := len(name) - len(suffix) - 1
	return i > 0 && name[i] == '.' && name[i+1:] == suffix
}

// parent is the name without its first label.
func parent(name string) (string, bool) {
	_, rest, ok := strings.Cut(name, ".")
	return rest, ok
}
