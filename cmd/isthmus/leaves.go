package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/resource"
)

// leaves flattens what people write of a noun: path of a field -> its value as text. Lists of plain values are one leaf.
func leaves(o resource.Object) map[string]string {
	spec, _ := o.SpecAndStatus()
	m := o.Head().Metadata
	out := map[string]string{}
	flatten(out, "spec", plainJSON(spec))
	flatten(out, "metadata.labels", plainJSON(m.Labels))
	flatten(out, "metadata.annotations", plainJSON(m.Annotations))
	return out
}

// plainJSON turns a value into maps, lists and scalars.
func plainJSON(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	if json.Unmarshal(b, &out) != nil {
		return nil
	}
	return out
}

func flatten(into map[string]string, path string, v any) {
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for k, sub := range v {
			flatten(into, path+"."+k, sub)
		}
	case string:
		into[path] = v
	case []any:
		var items []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				items = append(items, s)
				continue
			}
			b, _ := json.Marshal(item) // it came from JSON
			items = append(items, string(b))
		}
		into[path] = "[" + strings.Join(items, ", ") + "]"
	default:
		b, _ := json.Marshal(v) // it came from JSON
		into[path] = string(b)
	}
}

// sortedPairs renders a mapping as name=value, sorted.
func sortedPairs(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return out
}
