package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/isthmus-io/isthmus/fault"
)

// results are what a query found.
type results struct {
	kind  string // Twin, Raw or DeviceJob, as the hub says it
	n     int
	items []json.RawMessage
}

// columnsOf are those of whole twins and jobs, which have more than a table can show; nil for others.
func columnsOf(kind string) []string {
	switch kind {
	case "Twin":
		return []string{"deviceId", "moduleId", "status", "connectionState", "lastActivityTime", "tags"}
	case "DeviceJob":
		return []string{"deviceId", "moduleId", "jobId", "jobType", "status", "error"}
	}
	return nil
}

// table has a column for each key that some result has, in the order in which results have them.
func (r *results) table() (heads []string, rows [][]cell) {
	var keys []string
	objects := make([]map[string]json.RawMessage, len(r.items))
	for i, item := range r.items {
		names, object := fieldsOf(item)
		objects[i] = object
		for _, k := range names {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	if some := columnsOf(r.kind); some != nil {
		keys = slices.DeleteFunc(some, func(k string) bool { return !slices.Contains(keys, k) })
	}
	for _, o := range objects {
		row := make([]cell, len(keys))
		for i, k := range keys {
			row[i].text = plainText(o[k])
		}
		rows = append(rows, row)
	}
	for _, k := range keys {
		heads = append(heads, strings.ToUpper(k))
	}
	return heads, rows
}

// fieldsOf reads an object with its names in their order; what is no object has one field.
func fieldsOf(item json.RawMessage) (names []string, object map[string]json.RawMessage) {
	if json.Unmarshal(item, &object) != nil || object == nil {
		return []string{"value"}, map[string]json.RawMessage{"value": item}
	}
	d := json.NewDecoder(bytes.NewReader(item))
	_, _ = d.Token() // the brace
	for d.More() {
		t, err := d.Token()
		name, isText := t.(string)
		var value json.RawMessage
		if err != nil || !isText || d.Decode(&value) != nil {
			break // it was an object a moment ago
		}
		names = append(names, name)
	}
	return names, object
}

// plainText is a value as people read it, and as flags take it: nothing for null, and texts without quotes unless they could be taken for
// something else, as "43" for the number.
func plainText(v json.RawMessage) string {
	var s string
	switch {
	case len(v) == 0 || string(v) == "null" || string(v) == "{}":
		return ""
	case json.Unmarshal(v, &s) == nil && s != "" && !json.Valid([]byte(s)):
		return s
	}
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return string(v)
	}
	return b.String()
}

// bar is a number with a name.
type bar struct {
	label string
	value float64
	text  string
}

// labelled takes the last number of each result, and calls it by the rest of the result.
func (r *results) labelled() ([]bar, error) {
	var out []bar
	for _, item := range r.items {
		names, object := fieldsOf(item)
		at := -1
		var b bar
		for i, k := range names {
			var n json.Number
			if object[k][0] != '"' && json.Unmarshal(object[k], &n) == nil && n != "" {
				b.text = n.String()
				b.value, _ = strconv.ParseFloat(b.text, 64)
				at = i
			}
		}
		if at < 0 {
			return nil, fault.New("isthmus.query", fault.Invalid, "a result has no number to draw").
				Advise(`ask for one, such as COUNT() AS devices with GROUP BY tags.plant, or print a table: -o table`)
		}
		var rest []string
		for i, k := range names {
			if i != at {
				rest = append(rest, plainText(object[k]))
			}
		}
		if b.label = strings.Join(rest, " "); b.label == "" {
			b.label = "(none)" // the group of those that lack the property
			if len(r.items) == 1 {
				b.label = names[at]
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// barWidth is the longest bar, in columns.
const barWidth = 50

// bars draws numbers, the largest as long as a bar can be.
func (w *world) bars(list []bar, err error) error {
	if err != nil {
		return err
	}
	if len(list) == 0 {
		w.note("nothing was found")
	}
	paint := w.painter()
	widest, digits, most := 0, 0, 0.0
	for i := range list {
		list[i].label = harmless(list[i].label)
		widest = max(widest, runewidth.StringWidth(list[i].label))
		digits = max(digits, len(list[i].text))
		most = max(most, list[i].value)
	}
	for _, b := range list {
		line := fmt.Sprintf("%s%s  %*s  %s", b.label, strings.Repeat(" ", widest-runewidth.StringWidth(b.label)), digits, b.text, paint(green, drawn(b.value, most, barWidth)))
		w.printf("%s\n", strings.TrimRight(line, " "))
	}
	return nil
}

// drawn is a bar of blocks (U+2588 to U+258F, eighths of a column), never empty for what is more than nothing.
func drawn(value, most float64, width int) string {
	if value <= 0 || most <= 0 {
		return ""
	}
	eighths := max(1, int(value/most*float64(width)*8+0.5))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}
