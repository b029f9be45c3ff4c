package migration

import (
	"io"
	"slices"

	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/parity"
)

// Source is a file, which may be read several times.
type Source struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// Plan is what is to be brought. It is for one goroutine.
type Plan struct {
	files          []*file
	settings       []*azureexport.Hub
	authorities    []*azureexport.Authority
	configurations []*azureexport.Configuration
	groups         []*azureexport.ConsumerGroup
	wrong          []mishap

	judge *parity.Judge // which knows the identities that were shown
	early bool          // a module was shown before its device
	total int           // identities
	left  int           // things that cannot be read and did not fit into wrong
}

// file is a source with how much it holds of what is read again.
type file struct {
	Source
	proven, keyless   [2]int // devices, modules
	twins             int
	enrolled, unkeyed int // enrollments with keys, and without
}

// mishap is something that fails before anybody is asked.
type mishap struct {
	name string
	err  error
}

const maxWrong = 10_000 // that are remembered; more are counted

// New returns a Plan of nothing.
func New() *Plan {
	return &Plan{judge: parity.New()}
}

// Begin says which file is shown now.
func (p *Plan) Begin(s Source) {
	p.files = append(p.files, &file{Source: s})
	p.judge.Begin(s.Name)
}

// Broken says that the file which was begun cannot be read to its end.
func (p *Plan) Broken(err error) { p.judge.Broken(err) }

// Report says what becomes of everything that was shown.
func (p *Plan) Report() parity.Report { return p.judge.Report() }

// See takes a thing of the file that was begun.
func (p *Plan) See(at azureexport.At, t azureexport.Thing) {
	p.judge.See(at, t)
	f := p.files[len(p.files)-1]
	switch t := t.(type) {
	case *azureexport.Identity:
		p.identity(f, t)
	case *azureexport.Configuration:
		if !slices.ContainsFunc(p.configurations, func(c *azureexport.Configuration) bool { return c.ID == t.ID }) {
			p.configurations = append(p.configurations, t)
		}
	case *azureexport.Hub:
		p.settings = append(p.settings, t)
	case *azureexport.Authority:
		p.authorities = append(p.authorities, t)
	case *azureexport.ConsumerGroup:
		p.groups = append(p.groups, t)
	case *azureexport.Enrollment:
		if t.HasKeys || t.HasProof {
			f.enrolled++
		} else {
			f.unkeyed++
		}
	case *azureexport.Wrong:
		if len(p.wrong) == maxWrong {
			p.left++
			return
		}
		p.wrong = append(p.wrong, mishap{f.Name + ", " + at.String(), t.Err})
	}
}

func (p *Plan) identity(f *file, i *azureexport.Identity) {
	p.total++
	kind := kindOf(i)
	switch {
	case i.TwinOnly:
		f.twins++
		return
	case i.HasProof():
		f.proven[kind]++
	default:
		f.keyless[kind]++
	}
	p.early = p.early || kind == module && !p.judge.Knows(i.ID)
}

const (
	device = 0
	module = 1
)

func kindOf(i *azureexport.Identity) int {
	if i.ModuleID != "" {
		return module
	}
	return device
}

// maxDepth bounds how many edge devices stand behind each other (IoT Edge: nested, 5 layers).
const maxDepth = 16

// depth is how many edge devices stand before a device.
func (p *Plan) depth(id string) int {
	n, parents := 0, p.judge.Parents()
	for parent, ok := parents[id]; ok && n < maxDepth; parent, ok = parents[parent] {
		n++
	}
	return n
}

// pass is one reading of files for identities.
type pass struct {
	kinds   []int // devices, modules
	proof   []bool
	twins   bool // twins alone
	depth   int  // of devices; -1 for any
	reading []*file
}

func (s pass) takes(p *Plan, i *azureexport.Identity) bool {
	if s.twins || i.TwinOnly {
		return s.twins && i.TwinOnly
	}
	return slices.Contains(s.kinds, kindOf(i)) && slices.Contains(s.proof, i.HasProof()) && (s.depth < 0 || kindOf(i) == module || p.depth(i.ID) == s.depth)
}

// passes are the readings that are needed: one when a file has everything in an order that works, as export jobs write it.
func (p *Plan) passes() []pass {
	count := func(of func(*file) int) (n int, in []*file) {
		for _, f := range p.files {
			if of(f) > 0 {
				n += of(f)
				in = append(in, f)
			}
		}
		return n, in
	}
	var out []pass
	keyless, _ := count(func(f *file) int { return f.keyless[device] + f.keyless[module] })
	if keyless == 0 && !p.early && len(p.judge.Parents()) == 0 {
		n, in := count(func(f *file) int { return f.proven[device] + f.proven[module] })
		if n > 0 {
			out = append(out, pass{kinds: []int{device, module}, proof: []bool{true}, depth: -1, reading: in})
		}
	} else {
		deepest := 0
		for id := range p.judge.Parents() {
			deepest = max(deepest, p.depth(id))
		}
		for kind := range 2 {
			for depth := 0; depth <= deepest; depth++ {
				for _, proof := range []bool{true, false} {
					n, in := count(func(f *file) int {
						if proof {
							return f.proven[kind]
						}
						return f.keyless[kind]
					})
					if n > 0 && (kind == device || depth == 0) {
						out = append(out, pass{kinds: []int{kind}, proof: []bool{proof}, depth: depth, reading: in})
					}
				}
			}
		}
	}
	if n, in := count(func(f *file) int { return f.twins }); n > 0 {
		out = append(out, pass{twins: true, depth: -1, reading: in})
	}
	return out
}
