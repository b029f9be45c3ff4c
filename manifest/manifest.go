package manifest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/isthmus-io/isthmus/resource"
)

// MaxFile is how many bytes one file may have.
const MaxFile = 32 << 20

// Document is one resource and where it stands.
type Document struct {
	Object resource.Object
	File   string
	Line   int // 1-based line of its first field
}

// Set is what some files hold.
type Set struct {
	Documents []Document
	Notes     []string // what was ignored, in words with file and line

	problems Problems
	places   map[resource.Key]Document
}

// Parse reads the documents of one file. file is used in problems only. A file without documents gives an empty set.
func Parse(file string, data []byte) (*Set, error) {
	s := &Set{}
	s.parse(file, data)
	if err := s.problems.fault("manifest.Parse"); err != nil {
		return nil, err
	}
	return s, nil
}

// Objects returns the resources in the order in which they can be applied: what is referred to comes first, else as written.
func (s *Set) Objects() []resource.Object {
	out := make([]resource.Object, len(s.Documents))
	for i, d := range s.Documents {
		out[i] = d.Object
	}
	order := resource.Kinds()
	slices.SortStableFunc(out, func(a, b resource.Object) int {
		return slices.Index(order, a.Head().Kind) - slices.Index(order, b.Head().Kind)
	})
	return out
}

func (s *Set) parse(file string, data []byte) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if p, bad := notText(file, data); bad {
		s.problems = append(s.problems, p)
		return
	}
	for _, c := range split(data) {
		docs, err := nodes(c.text)
		for _, n := range docs {
			d := &decoder{file: file, before: c.before, lines: map[string]int{}, budget: 2 * MaxFile}
			o := d.document(n)
			s.problems = append(s.problems, d.problems...)
			s.Notes = append(s.Notes, d.notes...)
			if o != nil {
				s.add(Document{Object: o, File: file, Line: d.lines[""]})
			}
		}
		if err != nil {
			s.problems = append(s.problems, syntaxProblem(file, c, err))
		}
	}
}

func (s *Set) add(d Document) {
	if s.places == nil {
		s.places = map[resource.Key]Document{}
	}
	key := d.Object.Head().Key()
	if first, twice := s.places[key]; twice {
		s.problems = append(s.problems, Problem{
			File: d.File, Line: d.Line, Message: fmt.Sprintf("%s is given twice, first at %s:%d", key, first.File, first.Line), Hint: "remove one",
		})
		return
	}
	s.places[key] = d
	s.Documents = append(s.Documents, d)
}
