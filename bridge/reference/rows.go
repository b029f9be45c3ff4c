package reference

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Bounds of a table.
const (
	maxBytes  = 64 << 20
	maxRows   = 1_000_000
	maxValues = 16_000_000 // of all rows together: a value may be written with one byte, and takes fifty
)

type rows map[string]map[string]any

// parse reads a whole table.
func parse(content []byte, format resource.FileFormat, key string) (rows, error) {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")) // spreadsheets begin files so
	values := 0
	for _, c := range []byte(",\n[{") { // what stands before a value; there are fewer where texts have such letters in them
		values += bytes.Count(content, []byte{c})
	}
	if values > maxValues {
		return nil, bad("there are more than %d values", maxValues)
	}
	if format == resource.FormatCSV {
		return parseCSV(content, key)
	}
	return parseJSON(content, key)
}

func bad(format string, args ...any) *fault.Error {
	return fault.Newf("reference.parse", fault.Invalid, format, args...)
}

func (r rows) put(line int, key string, row map[string]any) error {
	switch _, twice := r[key]; {
	case key == "":
		return bad("line %d has no key", line)
	case twice:
		return bad("line %d has the key %.60q, which was there before", line, key)
	case len(r) == maxRows:
		return bad("there are more than %d rows", maxRows)
	}
	r[key] = row
	return nil
}

func parseCSV(content []byte, key string) (rows, error) {
	in := csv.NewReader(bytes.NewReader(content))
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, bad("it is empty: not even a header is there")
	}
	if err != nil {
		return nil, bad("the header cannot be read: %.200s", err.Error())
	}
	at, seen := -1, map[string]bool{}
	for i, name := range header {
		if seen[name] {
			return nil, bad("the column %.60q is there twice", name)
		}
		seen[name] = true
		if name == key {
			at = i
		}
	}
	if at < 0 {
		return nil, bad("there is no column %.60q", key)
	}
	out := rows{}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, bad("%.200s", err.Error())
		}
		line, _ := in.FieldPos(0)
		row := make(map[string]any, len(header))
		for i, name := range header {
			row[name] = record[i]
		}
		if err := out.put(line, record[at], row); err != nil {
			return nil, err
		}
	}
}

func parseJSON(content []byte, key string) (rows, error) {
	out := rows{}
	in := bufio.NewScanner(bytes.NewReader(content))
	in.Buffer(nil, maxBytes+1)
	for line := 1; in.Scan(); line++ {
		text := bytes.TrimSpace(in.Bytes())
		if len(text) == 0 {
			continue
		}
		var row map[string]any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&row); err != nil || row == nil {
			return nil, bad("line %d is no JSON object", line)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, bad("line %d has something behind its object", line)
		}
		v, err := column.FromAny(row[key])
		if err != nil {
			return nil, bad("line %d has a key that cannot be one", line)
		}
		if err := out.put(line, string(v.AppendText(nil)), row); err != nil {
			return nil, err
		}
	}
	if err := in.Err(); err != nil {
		return nil, bad("%.200s", err.Error())
	}
	return out, nil
}
