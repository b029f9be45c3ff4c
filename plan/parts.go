package plan

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"io"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// How rules are cut into parts: a part has about partRules of them, and never more than partBytes unless a single rule has.
const (
	partRules = 256
	partBytes = 256 << 10
)

// Part is a run of an allowlist's rules under the hash of its content. A stream carries each part once, so a change of one rule among
// a hundred thousand moves a few kilobytes, and who reads a plan may keep what it made of the parts that stayed. A Part is immutable.
type Part struct {
	Digest string               // SHA-256 of the rules' JSON, in hexadecimal
	Rules  []resource.AllowRule // nil in a plan whose parts were not read yet
	line   []byte               // as it stands in a stream
}

// MarshalText renders a part as its digest: this is how it stands in a plan.
func (p *Part) MarshalText() ([]byte, error) { return []byte(p.Digest), nil }

// UnmarshalText reads what MarshalText wrote. The rules come from elsewhere.
func (p *Part) UnmarshalText(text []byte) error {
	*p = Part{Digest: string(text)}
	return nil
}

// partLine is a part in a stream. Rules is the gzip of a JSON list.
type partLine struct {
	Part  string `json:"part"`
	Rules []byte `json:"rules"`
}

var partBegins = []byte(`{"part":`)

// Cut cuts rules into parts. Where it cuts depends on the names of the rules, so that a rule more or less changes one part; parts of
// old that hold what is wanted are used again. The rules are shared with the parts.
func Cut(rules []resource.AllowRule, old []*Part) []*Part {
	known := make(map[string]*Part, len(old))
	for _, p := range old {
		known[p.Rules[0].Name] = p
	}
	var out []*Part
	begin, size := 0, 0
	for i := range rules {
		size += weight(&rules[i])
		if i+1 < len(rules) && !ends(rules[i].Name) && size+weight(&rules[i+1]) <= partBytes {
			continue
		}
		run := rules[begin : i+1 : i+1]
		begin, size = i+1, 0
		if p := known[run[0].Name]; p != nil && slices.EqualFunc(p.Rules, run, resource.AllowRule.Equal) {
			out = append(out, p)
		} else {
			out = append(out, newPart(run))
		}
	}
	return out
}

// ends tells whether a part ends after the rule of this name.
func ends(name string) bool {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()*0x9e3779b97f4a7c15>>56 == 0 // the highest bits of a product are the well mixed ones: one of 256
}

// weight is about how long a rule is as JSON.
func weight(r *resource.AllowRule) int {
	n := 150 + len(r.Name) + len(r.Note) + 25*len(r.Sources) + 6*len(r.Ports)
	for _, name := range r.Names {
		n += len(name) + 3
	}
	return n
}

func newPart(rules []resource.AllowRule) *Part {
	text, err := json.Marshal(rules)
	if err != nil {
		panic("plan: rules must marshal: " + err.Error())
	}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // the level exists
	z.Write(text)                                        //nolint:errcheck // a buffer takes everything
	z.Close()                                            //nolint:errcheck // as above
	p := &Part{Digest: digest(text), Rules: rules}
	if p.line, err = json.Marshal(partLine{p.Digest, packed.Bytes()}); err != nil {
		panic("plan: a part must marshal: " + err.Error())
	}
	return p
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// readPart reads a line; most bounds the JSON of its rules.
func readPart(line []byte, most int) (p *Part, size int, err error) {
	op := "plan.readPart"
	var l partLine
	if err := json.Unmarshal(line, &l); err != nil {
		return nil, 0, fault.New(op, fault.Invalid, "a part of the plan cannot be read").Because(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(l.Rules))
	if err != nil {
		return nil, 0, fault.New(op, fault.Invalid, "a part of the plan cannot be unpacked").Because(err)
	}
	text, err := io.ReadAll(io.LimitReader(z, int64(most)+1))
	switch {
	case err != nil:
		return nil, 0, fault.New(op, fault.Invalid, "a part of the plan cannot be unpacked").Because(err)
	case len(text) > most:
		return nil, 0, fault.Newf(op, fault.TooLarge, "the parts of the plan have more than %d MiB", maxParts>>20)
	case digest(text) != l.Part:
		return nil, 0, fault.New(op, fault.Invalid, "a part of the plan does not fit its hash")
	}
	p = &Part{Digest: l.Part, line: line}
	if err := json.Unmarshal(text, &p.Rules); err != nil || len(p.Rules) == 0 {
		return nil, 0, fault.New(op, fault.Invalid, "a part of the plan holds no rules").Because(err)
	}
	return p, len(text), nil
}
