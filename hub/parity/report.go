package parity

import (
	"cmp"
	"slices"
)

// Verdict says how something fares here.
type Verdict string

const (
	Same      Verdict = "same"
	Different Verdict = "different"
	Missing   Verdict = "missing"
	Refused   Verdict = "refused"
)

// Verdicts in the order of a report.
func Verdicts() []Verdict { return []Verdict{Same, Different, Missing, Refused} }

// Words is the verdict as a heading.
func (v Verdict) Words() string {
	switch v {
	case Same:
		return "Comes across"
	case Different:
		return "Behaves differently"
	case Missing:
		return "Is missing here"
	}
	return "Is refused"
}

// Row is a row of docs/azure-divergences.md: the title of its table, and how its first field begins.
type Row struct {
	Section string `json:"section"`
	Begins  string `json:"begins"`
}

// Finding is one thing to know.
type Finding struct {
	Verdict  Verdict  `json:"verdict"`
	Topic    string   `json:"topic"`
	What     string   `json:"what"` // what is counted, in the plural
	Count    int      `json:"count"`
	Examples []string `json:"examples,omitempty"` // a few of them; of what is refused with the reason
	Next     string   `json:"next,omitempty"`     // what to do
	Row      *Row     `json:"divergence,omitempty"`
}

// File is a file that was read.
type File struct {
	Name   string   `json:"name"`
	Holds  []string `json:"holds"` // in which forms things were found
	Things int      `json:"things"`
	Error  string   `json:"error,omitempty"`
}

// Report is everything there is to know. It can be made again at any time.
type Report struct {
	Files    []File    `json:"files"`
	Findings []Finding `json:"findings"`
}

// Count returns how many things have a verdict.
func (r Report) Count(v Verdict) int {
	n := 0
	for _, f := range r.Findings {
		if f.Verdict == v {
			n += f.Count
		}
	}
	return n
}

// Of returns the findings with a verdict.
func (r Report) Of(v Verdict) []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Verdict == v {
			out = append(out, f)
		}
	}
	return out
}

// order sorts findings by verdict, then in the order of the catalogue.
func order(all map[rule]*Finding) []Finding {
	type placed struct {
		at rule
		f  *Finding
	}
	var list []placed
	for at, f := range all {
		list = append(list, placed{at, f})
	}
	verdicts := Verdicts()
	slices.SortFunc(list, func(a, b placed) int {
		return cmp.Or(cmp.Compare(slices.Index(verdicts, a.f.Verdict), slices.Index(verdicts, b.f.Verdict)), cmp.Compare(a.at, b.at))
	})
	out := []Finding{}
	for _, p := range list {
		out = append(out, *p.f)
	}
	return out
}
