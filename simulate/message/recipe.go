package message

import (
	"cmp"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/loosejson"
	"github.com/isthmus-io/isthmus/simulate/template"
)

// Payload is one body a device may send.
type Payload struct {
	Device   string             // the only one that sends it; empty for whoever has none of its own
	Share    int                // percent, 1 to 100
	Template *template.Template // nil for a fixed one
	Fixed    []byte
}

// Recipe is what devices send.
type Recipe struct {
	Variables *template.Variables
	Payloads  []Payload
	Header    *template.Template // a JSON object of names and values once rendered; nil for none

	own    map[string][]Payload
	others []Payload
}

// Prepare sorts payloads out. It is called once, before For; the recipe must not change afterwards.
//
// One payload alone is everybody's. Of several, a device sends its own ones; a device without sends those that are nobody's own, or,
// where there are none, any.
func (r *Recipe) Prepare() {
	all := slices.Clone(r.Payloads)
	slices.SortStableFunc(all, func(a, b Payload) int { return cmp.Compare(b.Share, a.Share) })
	r.own = map[string][]Payload{}
	for _, p := range all {
		if p.Device == "" || len(all) == 1 {
			r.others = append(r.others, p)
		} else {
			r.own[p.Device] = append(r.own[p.Device], p)
		}
	}
	if len(r.others) == 0 {
		r.others = all
	}
}

// For returns the source of one device's messages.
func (r *Recipe) For(device string) *Source {
	list, ok := r.own[device]
	if !ok {
		list = r.others
	}
	return &Source{recipe: r, payloads: list, state: r.Variables.NewState(device)}
}

// Check renders one message of a device and returns what is wrong with it.
func (r *Recipe) Check(device string, random Random) error {
	s := r.For(device)
	for _, p := range s.payloads {
		if _, _, err := s.write(p, nil, nil, random); err != nil {
			return err
		}
	}
	return nil
}

// header reads a rendered header and writes its members as properties. A member that is null is left out.
func header(dst, rendered []byte) ([]byte, error) {
	op := "message.header"
	v, err := loosejson.Parse(string(rendered))
	if err != nil {
		return dst, fault.Newf(op, fault.Invalid, "Header: once its variables are in, it is no JSON: %v", err).
			Advise(`it reads {"name": "value", "other": "$.Variable"}`)
	}
	if v.Kind != loosejson.Object {
		return dst, fault.New(op, fault.Invalid, "Header: once its variables are in, it is no JSON object").
			Advise(`it reads {"name": "value", "other": "$.Variable"}`)
	}
	for _, m := range v.Members {
		switch {
		case m.Value.Kind == loosejson.Null:
		case !m.Value.Scalar():
			return dst, fault.Newf(op, fault.Invalid, "Header: the value of %q is no text, number, true or false", m.Name)
		default:
			dst = AppendProperty(dst, m.Name, m.Value.Text)
		}
	}
	return dst, nil
}
