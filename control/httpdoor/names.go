package httpdoor

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// checkNames walks JSON beside the type it is meant for, and refuses names of fields which the type does not have. What is not of the
// type's shape is left to encoding/json. raw must be JSON; nothing of it is copied, because it may be long.
func checkNames(raw []byte, t reflect.Type, where string) error {
	w := &walker{raw: raw, where: where, shapes: map[reflect.Type]*shape{}}
	return w.value(w.shape(t))
}

// walker goes through JSON once.
type walker struct {
	raw    []byte
	at     int
	where  string
	path   []step
	shapes map[reflect.Type]*shape
}

// step is one step of the path to a value: a field, or an item of a list.
type step struct {
	name  []byte
	index int
}

// shape is what is to be known of a type. Of a leaf nothing inside is looked at.
type shape struct {
	leaf   bool
	fields map[string]*shape       // of a struct
	types  map[string]reflect.Type // of a struct, for words
	elem   *shape                  // of a list or a map
	list   bool
}

var (
	jsonReader = reflect.TypeFor[json.Unmarshaler]()
	textReader = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (w *walker) shape(t reflect.Type) *shape {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s := w.shapes[t]; s != nil {
		return s
	}
	s := &shape{}
	w.shapes[t] = s
	p := reflect.PointerTo(t)
	switch k := t.Kind(); {
	case p.Implements(jsonReader) || p.Implements(textReader):
		s.leaf = true
	case k == reflect.Struct:
		s.types, s.fields = fields(t), map[string]*shape{}
		for name, ft := range s.types {
			s.fields[name] = w.shape(ft)
		}
	case k == reflect.Map:
		s.elem = w.shape(t.Elem())
	case k == reflect.Slice:
		s.elem, s.list = w.shape(t.Elem()), true
	default:
		s.leaf = true
	}
	return s
}

// value goes past one value.
func (w *walker) value(s *shape) error {
	w.space()
	switch c := w.raw[w.at]; {
	case c == '{' && !s.leaf && !s.list:
		return w.object(s)
	case c == '[' && s.list && !s.elem.leaf:
		return w.list(s)
	default:
		w.skip()
		return nil
	}
}

func (w *walker) object(s *shape) error {
	for w.more('}') {
		name := w.text()
		w.space()
		w.at++ // the colon
		w.path = append(w.path, step{name: name, index: -1})
		inner := s.elem
		if s.fields != nil {
			if inner = s.fields[string(name)]; inner == nil {
				return unknownField(w.words(), string(name), s.types)
			}
		}
		if err := w.value(inner); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	return nil
}

func (w *walker) list(s *shape) error {
	for i := 0; w.more(']'); i++ {
		w.path = append(w.path, step{index: i})
		if err := w.value(s.elem); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	return nil
}

// more goes past what stands before the next item and tells whether there is one; the first byte is the opening bracket or a comma.
func (w *walker) more(end byte) bool {
	w.space()
	if w.raw[w.at] == end {
		w.at++
		return false
	}
	w.at++
	w.space()
	if w.raw[w.at] == end {
		w.at++
		return false
	}
	return true
}

func (w *walker) space() {
	for w.raw[w.at] == ' ' || w.raw[w.at] == '\n' || w.raw[w.at] == '\t' || w.raw[w.at] == '\r' {
		w.at++
	}
}

// text goes past a string and returns what it says.
func (w *walker) text() []byte {
	begin := w.at
	w.at++
	for {
		n := bytes.IndexByte(w.raw[w.at:], '"')
		w.at += n + 1
		back := 0
		for w.raw[w.at-2-back] == '\\' {
			back++
		}
		if back%2 == 0 {
			break
		}
	}
	quoted := w.raw[begin:w.at]
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // it was read before
	return []byte(s)
}

// skip goes past a value of any sort.
func (w *walker) skip() {
	depth := 0
	for {
		switch w.raw[w.at] {
		case '"':
			w.text()
			w.at--
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		default:
			if depth == 0 { // a number or a word
				for w.at < len(w.raw) && strings.IndexByte(" \n\t\r,]}", w.raw[w.at]) < 0 {
					w.at++
				}
				return
			}
		}
		w.at++
		if depth == 0 {
			return
		}
	}
}

// words renders the path for people: objects[2].spec.routes[0].nam.
func (w *walker) words() string {
	out := w.where
	for _, s := range w.path {
		if s.index >= 0 {
			out += "[" + strconv.Itoa(s.index) + "]"
		} else {
			out = join(out, string(s.name))
		}
	}
	return out
}
