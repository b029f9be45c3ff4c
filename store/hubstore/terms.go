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
	gone, come := terms(before, after, declared)
	for path, now := range come {
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

// terms are the leaves of two versions of a twin that belong into the index, by path; those that are surely alike are left out.
func terms(before, after Twin, declared []string) (gone, come map[string]term) {
	gone, come = map[string]term{}, map[string]term{}
	if before.Tags != after.Tags {
		leaves(gone, "tags", decoded(before.Tags))
		leaves(come, "tags", decoded(after.Tags))
	}
	for _, path := range declared {
		old, now := before.Reported.Text, after.Reported.Text
		below, reported := strings.CutPrefix(path, "properties.reported.")
		if !reported {
			below = strings.TrimPrefix(path, "properties.desired.")
			old, now = before.Desired.Text, after.Desired.Text
		}
		if old == now {
			continue
		}
		if old, now = find(old, below), find(now, below); old == now {
			continue
		}
		if leaf, ok := termOf(path, decoded(old)); ok && old != "" {
			gone[path] = leaf
		}
		if leaf, ok := termOf(path, decoded(now)); ok && now != "" {
			come[path] = leaf
		}
	}
	return gone, come
}

// decoded reads a part of a twin; what cannot be read has no leaves.
func decoded(text string) any {
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

// find returns the text of the property at a path, keys with dots between, of an object as twins are kept: JSON without white space. It is
// empty when there is none. To read the whole for each report would cost as much as writing it.
func find(object, path string) string {
	key, more, deeper := strings.Cut(path, ".")
	if !strings.HasPrefix(object, "{") {
		return ""
	}
	for at := 1; at < len(object) && object[at] == '"'; {
		colon := past(object, at)
		if colon >= len(object) || object[colon] != ':' {
			return ""
		}
		end := past(object, colon+1)
		if isKey(object[at:colon], key) {
			if deeper {
				return find(object[colon+1:end], more)
			}
			return object[colon+1 : end]
		}
		at = end + 1 // the comma
	}
	return ""
}

// isKey compares a key as JSON writes it with what it means.
func isKey(written, key string) bool {
	if strings.IndexByte(written, '\\') < 0 {
		return written[1:len(written)-1] == key
	}
	var s string
	return json.Unmarshal([]byte(written), &s) == nil && s == key
}

// past returns where the JSON value ends that begins at a byte.
func past(s string, at int) int {
	depth := 0
	for ; at < len(s); at++ {
		switch s[at] {
		case '"':
			for at++; at < len(s) && s[at] != '"'; at++ {
				if s[at] == '\\' {
					at++
				}
			}
			if at >= len(s) {
				return len(s)
			}
			if depth == 0 {
				return at + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at // of the object around a number
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',':
			if depth == 0 {
				return at
			}
		}
	}
	return at
}
