package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// maxProblems is how many problems one fault spells out.
const maxProblems = 50

// Problem is one thing wrong in a file.
type Problem struct {
	File    string // as the user named it; "-" for standard input
	Line    int    // 1-based; 0 when the whole file is meant
	Message string // what is wrong
	Hint    string // what to write instead; may be empty
}

// String renders "plant.yaml:14: unknown field "hostNme" in spec; did you mean "hostName"?".
func (p Problem) String() string {
	s := p.File + ": " + p.Message
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Problems is everything wrong in a set of manifests, in the order of files and lines. It is the cause inside the fault that
// [Parse] and [Load] return; get it with [ProblemsOf].
type Problems []Problem

// Error renders one problem a line, at most fifty.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i == maxProblems {
			fmt.Fprintf(&b, "\nand %d more", len(ps)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// ProblemsOf returns the problems an error of this package carries, or nil.
func ProblemsOf(err error) Problems {
	ps, _ := errors.AsType[Problems](err)
	return ps
}

func (ps Problems) fault(op string) error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.File != b.File {
			return 0 // files are read in order
		}
		return cmp.Compare(a.Line, b.Line)
	})
	return fault.New(op, fault.Invalid, ps.Error()).Because(ps).Advise("correct this and try again; nothing was changed")
}
