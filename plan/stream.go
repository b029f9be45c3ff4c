package plan

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
)

// maxParts bounds the JSON of all rules a Reader holds for one plan.
const maxParts = 512 << 20

// Writer turns the plans of one stream into lines. The zero value begins a stream.
type Writer struct{ sent map[string]struct{} }

// Lines returns what a stream must carry for a plan: the parts that the plan before it had not, and then the plan, which names its
// parts. Lines are without their ends and hold no line breaks. They are shared: do not change them.
func (w *Writer) Lines(p Plan) ([][]byte, error) {
	var out [][]byte
	now := map[string]struct{}{}
	for part := range p.parts {
		if part.line == nil {
			return nil, fault.Newf("plan.Lines", fault.Internal, "the part %s was not made by Cut nor read", part.Digest)
		}
		if _, again := now[part.Digest]; again {
			continue
		}
		now[part.Digest] = struct{}{}
		if _, has := w.sent[part.Digest]; !has {
			out = append(out, part.line)
		}
	}
	b, err := json.Marshal(p.thin())
	if err != nil {
		return nil, fault.Wrap("plan.Lines", fault.Internal, err, "")
	}
	w.sent = now
	return append(out, b), nil
}

// Reader puts the lines of one stream together again. The zero value begins a stream. After an error it is of no use.
type Reader struct {
	have, fresh map[string]*Part
	held        int // bytes of fresh
}

// Read takes a line that is not empty; ok is true when a plan is whole. Faults are Invalid, and TooLarge beyond 512 MiB of rules.
func (r *Reader) Read(line []byte) (p Plan, ok bool, err error) {
	if bytes.HasPrefix(line, partBegins) {
		part, size, err := readPart(line, maxParts-r.held)
		if err != nil {
			return Plan{}, false, err
		}
		if r.fresh == nil {
			r.fresh = map[string]*Part{}
		}
		r.fresh[part.Digest] = part
		r.held += size
		return Plan{}, false, nil
	}
	if err := json.Unmarshal(line, &p); err != nil {
		return Plan{}, false, fault.New("plan.Read", fault.Invalid, "the plan cannot be read").Because(err)
	}
	used := map[string]*Part{}
	for g := range p.Gateways {
		for a := range p.Gateways[g].Allowlists {
			list := &p.Gateways[g].Allowlists[a]
			for i, part := range list.Parts {
				if part == nil {
					return Plan{}, false, fault.New("plan.Read", fault.Invalid, "a part of the plan is null")
				}
				known := r.have[part.Digest]
				if known == nil {
					known = r.fresh[part.Digest]
				}
				if known == nil {
					return Plan{}, false, fault.Newf("plan.Read", fault.Invalid, "a part of the allowlist %s did not come", list.Name)
				}
				list.Parts[i], used[part.Digest] = known, known
				list.Rules = append(list.Rules, known.Rules...)
			}
		}
	}
	r.have, r.fresh, r.held = used, nil, 0
	return p, true, nil
}

// ReadFile reads the last plan of lines that were kept, or a single plan in any layout.
func ReadFile(text []byte) (p Plan, err error) {
	var r Reader
	if !bytes.HasPrefix(text, partBegins) {
		p, _, err = r.Read(text)
		return p, err
	}
	found := false
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		next, whole, err := r.Read(bytes.Clone(line))
		if err != nil {
			return Plan{}, err
		}
		if whole {
			p, found = next, true
		}
	}
	if !found {
		return Plan{}, fault.New("plan.ReadFile", fault.Invalid, "there is no plan after its parts")
	}
	return p, nil
}

// parts goes through the parts of all allowlists in order.
func (p *Plan) parts(yield func(*Part) bool) {
	for _, g := range p.Gateways {
		for _, a := range g.Allowlists {
			for _, part := range a.Parts {
				if !yield(part) {
					return
				}
			}
		}
	}
}

// HasParts tells whether an allowlist of the plan is in parts.
func (p *Plan) HasParts() bool {
	for range p.parts {
		return true
	}
	return false
}

// thin is the plan without the rules that are in its parts.
func (p Plan) thin() Plan {
	if !p.HasParts() {
		return p
	}
	p.Gateways = slices.Clone(p.Gateways)
	for i := range p.Gateways {
		lists := slices.Clone(p.Gateways[i].Allowlists)
		for j := range lists {
			if len(lists[j].Parts) > 0 {
				lists[j].Rules = nil
			}
		}
		p.Gateways[i].Allowlists = lists
	}
	return p
}
