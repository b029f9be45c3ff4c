package hubstore

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxTerm is how many characters of a text the index keeps; both databases bound what may be in an index. It narrows a search down, and
// the whole condition is looked at again.
const maxTerm = 64

// term is a leaf of a twin as the index has it.
type term struct {
	path   string // keys with dots between; a key of a twin has no dot
	kind   kind
	text   string
	number any // float64, or nil for what is no number
}

// indexTwin keeps the index in step with a twin that was written: it rewrites the terms that differ. The tags are in it, and of desired
// and reported properties what was declared.
func (tx *Tx) indexTwin(before, after Twin) error {
	declared := []string(nil)
	if before.Desired.Text != after.Desired.Text || before.Reported.Text != after.Reported.Text {
		var err error
		if declared, err = tx.indexes.of(tx, after.Hub); err != nil {
			return err
		}
	}
	if before.Tags == after.Tags && len(declared) == 0 {
		return nil
	}
	gone := terms(before, declared, before.Tags != after.Tags)
	for path, now := range terms(after, declared, before.Tags != after.Tags) {
		was, had := gone[path]
		delete(gone, path)
		if had && was == now {
			continue
		}
		if had {
			if err := tx.dropTerm(after, path); err != nil {
				return err
			}
		}
		if _, err := tx.sql.Exec("INSERT INTO twin_terms (hub, path, kind, text, number, device, module) VALUES (?, ?, ?, ?, ?, ?, ?)",
			after.Hub, now.path, string(now.kind), now.text, now.number, after.Name.Device, after.Name.Module); err != nil {
			return err
		}
	}
	for path := range gone {
		if err := tx.dropTerm(after, path); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) dropTerm(t Twin, path string) error {
	_, err := tx.sql.Exec("DELETE FROM twin_terms WHERE hub = ? AND device = ? AND module = ? AND path = ?", t.Hub, t.Name.Device, t.Name.Module, path)
	return err
}

// terms are the leaves of a twin that belong into the index, by path.
func terms(t Twin, declared []string, tags bool) map[string]term {
	out := map[string]term{}
	if tags {
		leaves(out, "tags", decoded(t.Tags))
	}
	parts := map[string]any{}
	for _, path := range declared {
		keys := strings.Split(path, ".")
		part, known := parts[keys[1]]
		if !known {
			part = decoded(map[string]string{"desired": t.Desired.Text, "reported": t.Reported.Text}[keys[1]])
			parts[keys[1]] = part
		}
		v, ok := below(part, keys[2:])
		if !ok {
			continue
		}
		if leaf, ok := termOf(path, v); ok {
			out[path] = leaf
		}
	}
	return out
}

// below finds a property of a decoded document.
func below(v any, keys []string) (any, bool) {
	for _, k := range keys {
		inner, _ := v.(map[string]any)
		var there bool
		if v, there = inner[k]; !there {
			return nil, false
		}
	}
	return v, true
}

// decoded reads a part of a twin; what cannot be read has no leaves.
func decoded(text string) any {
	if text == "" || text == "{}" {
		return map[string]any{}
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return map[string]any{}
	}
	return v
}

func leaves(out map[string]term, path string, v any) {
	if inner, ok := v.(map[string]any); ok {
		for k, v := range inner {
			leaves(out, path+"."+k, v)
		}
	} else if leaf, ok := termOf(path, v); ok {
		out[path] = leaf
	}
}

// termOf makes the term of a scalar; objects and arrays have none.
func termOf(path string, v any) (term, bool) {
	switch v := v.(type) {
	case nil:
		return term{path, aNull, "null", nil}, true
	case bool:
		return term{path, aBoolean, strconv.FormatBool(v), nil}, true
	case string:
		return term{path, aString, shortened(v, maxTerm), nil}, true
	case json.Number:
		n, err := v.Float64()
		return term{path, aNumber, shortened(v.String(), maxTerm), n + 0}, err == nil // no minus before a zero
	}
	return term{}, false
}

// shortened returns the first characters of a text.
func shortened(s string, characters int) string {
	if len(s) <= characters {
		return s
	}
	at := 0
	for range characters {
		_, n := utf8.DecodeRuneInString(s[at:])
		at += n
	}
	return s[:at]
}
