package manifest

import (
	"encoding"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// Field describes one field of a kind, from the tags of its struct.
type Field struct {
	Name      string
	Type      string   // in words: "text", "a list of IP addresses"
	Doc       string   // what it is for
	Example   string   // as YAML; may be empty
	Enum      []string // the only values taken; nil for any
	Minimum   int64    // of numbers
	Maximum   int64    // of numbers; 0 when only the type bounds it
	MaxLength int      // of text, in bytes; 0 when unbounded
	Required  bool
	ReadOnly  bool    // written by Isthmus, ignored in manifests
	Fields    []Field // of a mapping, or of the items of a list of mappings

	index []int // for reflection
}

// SchemaOf returns the description of a kind: a Field named after it whose Fields are apiVersion, kind, metadata, spec and status.
func SchemaOf(k resource.Kind) (f Field, ok bool) {
	o, ok := resource.New(k)
	if !ok {
		return Field{}, false
	}
	f = Field{Name: string(k), Type: "a resource", Fields: fieldsOf(reflect.TypeOf(o).Elem())}
	for i := range f.Fields {
		switch top := &f.Fields[i]; top.Name {
		case "metadata":
			top.Doc = "what it is called and where it belongs"
			top.Fields = metadataOf(k, top.Fields)
		case "spec":
			top.Doc = "what is asked for"
		case "status":
			top.Doc, top.ReadOnly = "what Isthmus says about it", true
		}
	}
	return f, true
}

// metadataOf keeps the fields which a kind may have and says which it must have.
func metadataOf(k resource.Kind, fields []Field) []Field {
	scope, _ := resource.ScopeOf(k)
	has := map[string]bool{
		"tenant": scope != resource.ScopeDeployment, "network": scope == resource.ScopeNetwork, "zone": scope == resource.ScopeZone,
	}
	var out []Field
	for _, f := range fields {
		belongs, scoped := has[f.Name]
		if scoped && !belongs {
			continue
		}
		f.Required = f.Required || scoped
		out = append(out, f)
	}
	return out
}

// Find returns the field at a dotted path below f, such as "spec.ports.port"; items of lists are looked through. When a step does
// not exist, near is the name it most likely meant (or empty), and known are the names there.
func (f Field) Find(path string) (found Field, near string, known []string, ok bool) {
	found = f
	for step := range strings.SplitSeq(path, ".") {
		names := fieldNames(found.Fields)
		i := slices.Index(names, step)
		if i < 0 {
			return found, Nearest(step, names), names, false
		}
		found = found.Fields[i]
	}
	return found, "", nil, true
}

func fieldNames(fields []Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// fieldsOf lists a struct's fields in order; embedded structs without a name are looked through, as encoding/json does.
func fieldsOf(t reflect.Type) []Field {
	var out []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, opts, _ := strings.Cut(sf.Tag.Get("json"), ",")
		switch {
		case sf.Anonymous && name == "":
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				out = append(out, f)
			}
			continue
		case !sf.IsExported() || name == "-" || name == "":
			continue
		}
		f := Field{
			Name: name, Type: words(sf.Type), Doc: sf.Tag.Get("doc"), Example: sf.Tag.Get("example"), index: []int{i},
			Minimum: tagNumber(sf, "minimum"), Maximum: tagNumber(sf, "maximum"), MaxLength: int(tagNumber(sf, "maxLength")),
			ReadOnly: sf.Tag.Get("readOnly") == "true",
			Required: !strings.Contains(opts, "omitempty") && !strings.Contains(opts, "omitzero"),
		}
		if e := sf.Tag.Get("enum"); e != "" {
			f.Enum = strings.Split(e, ",")
		}
		inner := sf.Type
		if inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if isMapping(inner) {
			f.Fields = fieldsOf(inner)
		}
		out = append(out, f)
	}
	return out
}

func tagNumber(sf reflect.StructField, tag string) int64 {
	n, _ := strconv.ParseInt(sf.Tag.Get(tag), 10, 64) // absent or unreadable: no bound
	return n
}

// isMapping tells a struct with fields of its own from one that is written as text, such as an address.
func isMapping(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textUnmarshaler)
}

// words names a type for people.
func words(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return "an IP address"
	case reflect.TypeFor[netip.Prefix]():
		return "an address range"
	case reflect.TypeFor[time.Time]():
		return "a time"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Interface:
		return anyWords
	case reflect.Slice:
		return "a list of " + plural(words(t.Elem()))
	case reflect.Map:
		return "a mapping of names to " + plural(words(t.Elem()))
	default:
		return mappingWords
	}
}

const (
	mappingWords = "a mapping"
	anyWords     = "a value of any sort"
)

func plural(s string) string {
	switch s {
	case "an IP address":
		return "IP addresses"
	case "text":
		return "texts"
	}
	_, noun, ok := strings.Cut(s, " ")
	if !ok {
		return s
	}
	return noun + "s"
}
