package manifest

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// decoder reads one document. It goes on after a problem, so that all of them are found.
type decoder struct {
	file     string
	before   int // lines before this document's text
	problems Problems
	notes    []string
	lines    map[string]int // path of a field -> its line
	budget   int            // bytes and nodes that may still be read; aliases are counted each time they are used
	resolve  int            // aliases being followed, for those that contain themselves
}

const maxAliasDepth = 8

func (d *decoder) add(n *yaml.Node, hint, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: d.before + n.Line, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// document reads one resource; nil when it has problems or is empty.
func (d *decoder) document(doc *yaml.Node) resource.Object {
	if len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		d.add(root, "begin with: apiVersion: "+resource.APIVersion, "expected a resource, found %s", found(root))
		return nil
	}
	d.lines[""] = d.before + root.Line
	kind, ok := d.kind(root)
	if !ok {
		return nil
	}
	schema, _ := SchemaOf(kind)
	o, _ := resource.New(kind)
	d.mapping(root, reflect.ValueOf(o).Elem(), schema.Fields, "")
	m := &o.Head().Metadata
	m.UID, m.Generation, m.CreatedAt, m.UpdatedAt = "", 0, time.Time{}, time.Time{}
	if len(d.problems) > 0 {
		return nil
	}
	if err := o.Validate(); err != nil {
		line := d.lineOf(fault.Message(err))
		if n := item(root, fault.Message(err)); n != nil {
			line = d.before + n.Line
		}
		d.problems = append(d.problems, Problem{File: d.file, Line: line, Message: fault.Message(err), Hint: fault.Next(err)})
		return nil
	}
	return o
}

// kind reads apiVersion and kind, on which the meaning of all else depends.
func (d *decoder) kind(root *yaml.Node) (resource.Kind, bool) {
	version, kind := lookup(root, "apiVersion"), lookup(root, "kind")
	switch {
	case version == nil:
		d.add(root, "write apiVersion: "+resource.APIVersion, "apiVersion is missing")
	case version.Value != resource.APIVersion:
		d.add(version, "write apiVersion: "+resource.APIVersion, "apiVersion: expected %s, found %s", resource.APIVersion, found(version))
	}
	if kind == nil {
		d.add(root, "kinds are "+strings.Join(kindNames(), ", "), "kind is missing")
		return "", false
	}
	if _, ok := resource.ScopeOf(resource.Kind(kind.Value)); !ok || kind.Kind != yaml.ScalarNode {
		d.add(kind, didYouMean(kind.Value, kindNames(), "kinds are "+strings.Join(kindNames(), ", ")), "kind: %s is not a kind", found(kind))
		return "", false
	}
	return resource.Kind(kind.Value), true
}

func lookup(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func kindNames() []string {
	var out []string
	for _, k := range resource.Kinds() {
		out = append(out, string(k))
	}
	return out
}

// mapping reads a struct. path is "" for the whole document.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, fields []Field, path string) {
	if n.Kind != yaml.MappingNode {
		d.add(n, "", "%s: expected a mapping, found %s", path, found(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		name, ok := d.key(key, seen, path)
		if !ok {
			continue
		}
		at := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
		if at < 0 {
			d.add(key, didYouMean(name, fieldNames(fields), "known are "+writable(fields)), "unknown field %q%s", name, in(path))
			continue
		}
		f := fields[at]
		sub := join(path, name)
		if !strings.Contains(path, "[") { // lineOf looks for no items of lists, and there may be very many
			d.lines[sub] = d.before + key.Line
		}
		if path == "" && name == "status" {
			if !isNull(val) {
				d.notes = append(d.notes, fmt.Sprintf("%s:%d: status is ignored: Isthmus writes it", d.file, d.before+key.Line))
			}
			continue
		}
		d.value(val, v.FieldByIndex(f.index), f, sub)
	}
	for _, f := range fields {
		if _, given := seen[f.Name]; !given && f.Name != "kind" && f.Name != "apiVersion" {
			d.missing(n, f, join(path, f.Name))
		}
	}
}

// writable lists the names a person may write.
func writable(fields []Field) string {
	var names []string
	for _, f := range fields {
		if !f.ReadOnly {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// missing reports an absent field that is required, or of an absent mapping those of its fields that are.
func (d *decoder) missing(n *yaml.Node, f Field, path string) {
	switch {
	case !f.Required || f.ReadOnly:
	case f.Type == mappingWords:
		for _, sub := range f.Fields {
			d.missing(n, sub, join(path, sub.Name))
		}
	case f.Doc != "":
		d.add(n, "it is "+f.Doc, "%s is missing", path)
	default:
		d.add(n, "", "%s is missing", path)
	}
}

// key reads a field's name and refuses one that stands twice.
func (d *decoder) key(key *yaml.Node, seen map[string]int, path string) (string, bool) {
	if key.Kind != yaml.ScalarNode {
		d.add(key, "", "expected a field's name%s, found %s", in(path), found(key))
		return "", false
	}
	if key.Tag == "!!merge" {
		d.add(key, "write the fields out", "merge keys (<<) are not read")
		return "", false
	}
	if first, twice := seen[key.Value]; twice {
		d.add(key, "remove one", "field %q stands twice%s, first in line %d", key.Value, in(path), first)
		return "", false
	}
	seen[key.Value] = d.before + key.Line
	return key.Value, d.spend(key)
}

// spend counts a node against the budget.
func (d *decoder) spend(n *yaml.Node) bool {
	was := d.budget
	d.budget -= 1 + len(n.Value)
	if d.budget < 0 && was >= 0 {
		d.add(n, "write fewer aliases", "the document grows too large through its aliases")
	}
	return d.budget >= 0
}

// value reads one value of any type. Nothing (null) is the same as an absent field.
func (d *decoder) value(n *yaml.Node, v reflect.Value, f Field, path string) {
	if n.Kind == yaml.AliasNode {
		if d.resolve++; d.resolve > maxAliasDepth {
			d.add(n, "write the value out", "%s: an alias contains itself", path)
			d.resolve--
			return
		}
		d.value(n.Alias, v, f, path)
		d.resolve--
		return
	}
	if v.Kind() == reflect.Interface {
		if free := d.free(n, path); free != nil {
			v.Set(reflect.ValueOf(free))
		}
		return
	}
	if !d.spend(n) {
		return
	}
	if n.Kind == yaml.ScalarNode && !slices.Contains(plainTags, n.ShortTag()) {
		d.add(n, "remove the tag", "%s: the tag %s is not read", path, n.Tag)
		return
	}
	if isNull(n) {
		if f.Required && f.Type != mappingWords {
			d.add(n, "", "%s is empty: expected %s", path, expected(f))
		} else {
			d.missing(n, f, path)
		}
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, t, v.Type(), f, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, f.Fields, path)
	case reflect.Slice:
		d.list(n, v, f, path)
	case reflect.Map:
		d.names(n, v, f, path)
	case reflect.String:
		d.str(n, v, f, path)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			d.add(n, boolHint(n), "%s: expected true or false, found %s", path, found(n))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Float64:
		d.fraction(n, v, f, path)
	default:
		d.number(n, v, f, path)
	}
}

var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!merge"}

func boolHint(n *yaml.Node) string {
	switch strings.ToLower(n.Value) {
	case "yes", "on", "y", "true":
		return "write true, without quotes"
	case "no", "off", "n", "false":
		return "write false, without quotes"
	}
	return ""
}

func (d *decoder) str(n *yaml.Node, v reflect.Value, f Field, path string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.add(n, "", "%s: expected %s, found %s", path, expected(f), found(n))
	case n.ShortTag() != "!!str":
		d.add(n, fmt.Sprintf("put it in quotes: %q", n.Value), "%s: expected %s, found %s", path, expected(f), found(n))
	case f.Enum != nil && n.Value != "" && !slices.Contains(f.Enum, n.Value):
		d.add(n, didYouMean(n.Value, f.Enum, ""), "%s: expected %s, found %s", path, expected(f), found(n))
	case f.MaxLength > 0 && len(n.Value) > f.MaxLength:
		d.add(n, "shorten it", "%s: the text has %d bytes, at most %d are allowed", path, len(n.Value), f.MaxLength)
	case f.Required && n.Value == "":
		d.add(n, "", "%s is empty: expected %s", path, expected(f))
	default:
		v.SetString(n.Value)
	}
}

func (d *decoder) number(n *yaml.Node, v reflect.Value, f Field, path string) {
	low, high := f.Minimum, f.Maximum
	if high == 0 {
		high = math.MaxInt64
	}
	if v.CanUint() {
		if bits := v.Type().Bits(); bits < 64 {
			high = min(high, 1<<bits-1)
		}
	}
	var i int64
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int":
		hint := ""
		if _, err := strconv.Atoi(n.Value); err == nil {
			hint = "remove the quotes"
		}
		d.add(n, hint, "%s: expected a whole number, found %s", path, found(n))
		return
	case n.Decode(&i) != nil || i < low || i > high:
		d.add(n, "", "%s: expected a number from %d to %d, found %s", path, low, high, found(n))
		return
	}
	if v.CanUint() {
		v.SetUint(uint64(i))
	} else {
		v.SetInt(i)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, f Field, path string) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf("write [%s]", short(n.Value))
		}
		d.add(n, hint, "%s: expected %s, found %s", path, f.Type, found(n))
		return
	}
	item := f
	item.Type, item.Required = words(v.Type().Elem()), true
	out := reflect.MakeSlice(v.Type(), 0, min(len(n.Content), 16))
	for i, c := range n.Content {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(c, e, item, fmt.Sprintf("%s[%d]", path, i))
		if d.budget < 0 {
			return
		}
		out = reflect.Append(out, e)
	}
	if len(n.Content) > 0 {
		v.Set(out)
	}
}

// names reads a mapping whose names are free, such as labels.
func (d *decoder) names(n *yaml.Node, v reflect.Value, f Field, path string) {
	if n.Kind != yaml.MappingNode {
		d.add(n, "", "%s: expected %s, found %s", path, f.Type, found(n))
		return
	}
	seen := map[string]int{}
	out := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, ok := d.key(n.Content[i], seen, path)
		if !ok {
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], e, Field{Type: words(e.Type())}, join(path, name))
		out.SetMapIndex(reflect.ValueOf(name), e)
	}
	if out.Len() > 0 {
		v.Set(out)
	}
}

// text reads what is written as text and is not a string, such as an address.
func (d *decoder) text(n *yaml.Node, into encoding.TextUnmarshaler, t reflect.Type, f Field, path string) {
	if n.Kind != yaml.ScalarNode || n.Value == "" || into.UnmarshalText([]byte(n.Value)) != nil {
		d.add(n, textHint(t, n.Value), "%s: expected %s, found %s", path, expected(f), found(n))
	}
}

func textHint(t reflect.Type, value string) string {
	switch t {
	case reflect.TypeFor[netip.Addr]():
		if _, err := netip.ParseAddrPort(value); err == nil {
			return "leave the port out"
		}
		if p, err := netip.ParsePrefix(value); err == nil {
			return "write " + p.Addr().String()
		}
		return "write it like 10.7.0.4"
	case reflect.TypeFor[netip.Prefix]():
		if a, err := netip.ParseAddr(value); err == nil && a.Is4() && strings.HasSuffix(value, ".0") {
			return "add the length of the prefix: " + value + "/24"
		} else if err == nil && a.Zone() == "" {
			return fmt.Sprintf("add the length of the prefix; the one address is %s/%d", value, a.BitLen())
		}
		return "write it like 10.7.0.0/24"
	case reflect.TypeFor[time.Time]():
		return "write it like 2026-11-22T15:40:00Z"
	}
	return ""
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// expected says what a field takes.
func expected(f Field) string {
	if f.Enum != nil {
		return "one of " + strings.Join(f.Enum, ", ")
	}
	return f.Type
}

// found says what a node is, in words.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.DocumentNode, yaml.ScalarNode:
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + short(n.Value)
	case "!!bool":
		return "the truth value " + n.Value
	case "!!timestamp":
		return "the date " + n.Value
	}
	return fmt.Sprintf("the text %q", short(n.Value))
}

func short(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func in(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

var fieldPath = regexp.MustCompile(`\b(?:metadata|spec)(?:\.[a-zA-Z]+)+`)

// lineOf finds the line of the first field that a message names; the document's first line when it names none that was given.
func (d *decoder) lineOf(message string) int {
	for _, path := range fieldPath.FindAllString(message, -1) {
		for p := path; p != ""; p = p[:max(0, strings.LastIndexByte(p, '.'))] {
			if line, ok := d.lines[p]; ok {
				return line
			}
		}
	}
	return d.lines[""]
}
