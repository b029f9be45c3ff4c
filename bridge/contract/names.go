package contract

import (
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// names is the rules of properties.
type names struct {
	what   string // "the contract ot/telemetry, version 3, message telemetry, property "
	byName map[string]*nameRule
	other  *nameRule // of every name that has no rule of its own
	needed []*nameRule
	hashes bool
}

// nameRule is one listed property.
type nameRule struct {
	said     string
	becomes  string // empty: the name it has
	drop     bool
	hash     bool
	required bool
	checks
}

func compileNames(what string, list []resource.ContractField) (*names, error) {
	l := &names{what: what, byName: make(map[string]*nameRule, len(list))}
	becomes := map[string]bool{}
	for i := range list {
		f := &list[i]
		r := &nameRule{said: f.Path, becomes: f.Rename, drop: f.Drop, hash: f.Hash, required: f.Required}
		if err := r.compile(f); err != nil {
			return nil, at(what, err)
		}
		to := r.becomes
		if to == "" {
			to = f.Path
		}
		switch {
		case l.byName[f.Path] != nil || f.Path == star && l.other != nil:
			return nil, fault.Newf("contract.Compile", fault.Invalid, "%s%s is listed twice", what, f.Path).Advise("a property has one rule")
		case !f.Drop && becomes[to]:
			return nil, fault.Newf("contract.Compile", fault.Invalid, "%s%s becomes %s, as another does", what, f.Path, to).Advise("give them different names")
		case f.Path == star:
			if l.other = r; to == star {
				r.becomes = ""
			}
		default:
			l.byName[f.Path] = r
		}
		becomes[to] = becomes[to] || !f.Drop
		l.hashes = l.hashes || r.hash
		if r.required {
			l.needed = append(l.needed, r)
		}
	}
	return l, nil
}

func (l *names) rule(name string) *nameRule {
	if r := l.byName[name]; r != nil {
		return r
	}
	return l.other
}

// passage tells how the value of a name crosses, as a partition key has to.
func (l *names) passage(name string) passage {
	if r := l.rule(name); r != nil && !r.drop && !r.hash {
		return plain
	}
	return hashed
}

// apply returns what of the properties crosses.
func (l *names) apply(s *scratch, list []event.Property, strict bool) ([]event.Property, error) {
	var out []event.Property
	var at map[string]struct{}
	for i := range list {
		p := &list[i]
		r := l.rule(p.Name)
		if r == nil || r.drop {
			if r == nil && strict && p.Name != event.OriginProperty && p.Name != event.RepeatProperty { // those of a bridge before: nobody sent them
				return nil, broken("the message has a property that is not listed")
			}
			continue
		}
		name, value := p.Name, p.Value
		if r.becomes != "" {
			name = r.becomes
		}
		if r.hash || r.kind != anything {
			k, form := s.property(value)
			if words := r.judge(k, form); words != "" {
				return nil, broken(r.said + " " + words)
			}
			if r.hash {
				value = string(s.appendHash(nil, k, form))
			}
		}
		if out == nil {
			out = make([]event.Property, 0, min(len(list), len(l.byName)+len(list)*b2i(l.other != nil)))
		}
		if !fresh(out, name, &at) {
			return nil, broken(r.said + clash)
		}
		out = append(out, event.Property{Name: name, Value: value})
	}
	for _, r := range l.needed {
		if r.required && !has(list, r) {
			return nil, broken(r.said + " is missing")
		}
	}
	return out, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// has tells whether a rule has met anything.
func has(list []event.Property, r *nameRule) bool {
	if r.said == star {
		return len(list) > 0
	}
	_, there := event.Get(list, r.said)
	return there
}

// fresh tells whether a name is not in the list yet. at takes over where the list is long.
func fresh(list []event.Property, name string, at *map[string]struct{}) bool {
	if len(list) < maxLook {
		_, there := event.Get(list, name)
		return !there
	}
	if *at == nil {
		*at = make(map[string]struct{}, 2*len(list))
		for i := range list {
			(*at)[list[i].Name] = struct{}{}
		}
	}
	_, there := (*at)[name]
	(*at)[name] = struct{}{}
	return !there
}
