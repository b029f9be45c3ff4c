package httpdoor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/isthmus-io/isthmus/fault"
)

// decodeStrict reads JSON into v, which must be a pointer, and refuses fields that v's type does not have, each with the nearest
// right name. where is put before the names of fields, such as "objects[2]".
func decodeStrict(raw []byte, v any, where string) error {
	op := "httpdoor.decode"
	if len(bytes.TrimSpace(raw)) == 0 {
		return fault.New(op, fault.Invalid, "the request has no body").Advise("send a JSON object")
	}
	err := json.Unmarshal(raw, v)
	if syn, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fault.New(op, fault.Invalid, "the body is not JSON: "+position(raw, syn)).Because(err)
	}
	if err := checkNames(raw, reflect.TypeOf(v).Elem(), where); err != nil {
		return err
	}
	if err != nil {
		return fault.New(op, fault.Invalid, misfit(where, err)).Because(err).Advise("the API is described at /openapi.json")
	}
	return nil
}

// position says where JSON broke off being JSON.
func position(raw []byte, syn *json.SyntaxError) string {
	before := raw[:min(max(int(syn.Offset)-1, 0), len(raw))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("%s (line %d, column %d)", syn.Error(), line, column)
}

// misfit says which value did not fit its field.
func misfit(where string, err error) string {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s: a %s cannot be %s", join(where, t.Field), kindWord(t.Type), article(t.Value))
	}
	if where == "" {
		where = "the body"
	}
	return where + " holds a value that cannot be read: " + err.Error()
}

func article(jsonType string) string {
	word, _, _ := strings.Cut(jsonType, " ")
	if word == "array" || word == "object" {
		return "an " + word
	}
	return "a " + word
}

func kindWord(t reflect.Type) string {
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return "true or false"
	case k >= reflect.Int && k <= reflect.Float64:
		return "number"
	case k == reflect.String:
		return "text"
	case k == reflect.Slice || k == reflect.Array:
		return "list"
	}
	return "value of this field"
}

func join(where, field string) string {
	switch {
	case where == "":
		if field == "" {
			return "the body"
		}
		return field
	case field == "":
		return where
	}
	return where + "." + field
}

// fields lists the JSON names of a struct with their types, those of embedded structs too.
func fields(t reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" || !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		all[name] = f.Type
	}
	return all
}

func unknownField(path, name string, known map[string]reflect.Type) error {
	names := sorted(known)
	f := fault.Newf("httpdoor.decode", fault.Invalid, "there is no field %s", brief(path))
	if near := nearest(name, names); near != "" {
		return f.Advise("did you mean %s?", near)
	}
	return f.Advise("fields here are %s", strings.Join(names, ", "))
}

// maxName is longer than every name there is. Nobody mistypes a longer one, and comparing it would cost a stranger nothing and us much.
const maxName = 64

// brief keeps what somebody sent from filling a reply and the log.
func brief(s string) string {
	if len(s) <= 4*maxName {
		return s
	}
	return strings.ToValidUTF8(s[:4*maxName], "") + "…"
}

// nearest returns the name that differs least, or nothing when all differ too much.
func nearest(name string, names []string) string {
	if len(name) > maxName {
		return ""
	}
	best, least := "", max(2, len(name)/3)+1
	for _, n := range names {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
