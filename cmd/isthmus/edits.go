package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// valueOf reads a value of a flag: JSON when it is that, else the text itself.
func valueOf(text string) json.RawMessage {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	b, _ := json.Marshal(text) // a text always can
	return b
}

// nest makes an object of PATH=VALUE, where a.b=1 is {"a":{"b":1}}; nil of none.
func nest(flag string, edits []string) (json.RawMessage, error) {
	if len(edits) == 0 {
		return nil, nil
	}
	root := map[string]any{}
	for _, edit := range edits {
		path, value, ok := strings.Cut(edit, "=")
		keys := strings.Split(path, ".")
		if !ok || slices.Contains(keys, "") {
			return nil, usagef("--%s %q is no PATH=VALUE", flag, edit).advise(`write --%s plant=43, --%s location.floor=2, or --%s plant=null to take it away`, flag, flag, flag)
		}
		at := root
		for _, k := range keys[:len(keys)-1] {
			next, isObject := at[k].(map[string]any)
			if at[k] == nil {
				next, isObject = map[string]any{}, true
				at[k] = next
			}
			if !isObject {
				return nil, twice(flag, path)
			}
			at = next
		}
		last := keys[len(keys)-1]
		if at[last] != nil {
			return nil, twice(flag, path)
		}
		at[last] = valueOf(value)
	}
	b, err := json.Marshal(root)
	return b, fault.Wrap("isthmus.nest", fault.Internal, err, "")
}

func twice(flag, path string) error {
	return usagef("--%s says two things about %s", flag, path).advise("say it once")
}

// assignments reads NAME=VALUE into a map; nil of none.
func assignments(flag string, list []string) (map[string]string, error) {
	var out map[string]string
	for _, item := range list {
		name, value, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return nil, usagef("--%s %q is no NAME=VALUE", flag, item).advise("write --%s name=value", flag)
		}
		if _, again := out[name]; again {
			return nil, twice(flag, name)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}
