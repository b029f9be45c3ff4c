package files

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Names of the columns with which events are marked.
const (
	originColumn = "isthmus_origin"
	repeatColumn = "isthmus_repeat"
)

// encoder makes rows of events, as they stand in a file or, for Parquet, as they wait to be written.
type encoder struct {
	bridge  string
	format  resource.FileFormat
	columns []resource.Column
	values  []column.Expression // of columns
	heads   [][]byte            // {"NAME": or ,"NAME":
	marked  bool
}

func newEncoder(bridge string, f *resource.Files, window []resource.Column, set *column.Set) (*encoder, error) {
	op := "files.New"
	e := &encoder{bridge: bridge, format: f.Format, columns: f.Columns, marked: window == nil}
	if e.format == "" {
		e.format = resource.FormatJSON
	}
	if tabular := e.format == resource.FormatCSV || e.format == resource.FormatParquet; tabular && len(e.columns) == 0 {
		if e.columns = window; window == nil {
			return nil, fault.Newf(op, fault.Invalid, "files of %s need columns", e.format).Advise("list them in spec.destination")
		}
	}
	for i, c := range e.columns {
		if e.marked && (c.Name == originColumn || c.Name == repeatColumn) {
			return nil, fault.Newf(op, fault.Invalid, "%s cannot be a column: files have one of that name anyhow", c.Name)
		}
		x, err := set.AddColumn(c)
		if err != nil {
			return nil, err
		}
		e.values = append(e.values, x)
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		e.heads = append(e.heads, append(column.AppendQuoted([]byte{before}, c.Name), ':'))
	}
	if e.marked && e.format == resource.FormatParquet || e.marked && e.format == resource.FormatCSV {
		e.columns = append(e.columns[:len(e.columns):len(e.columns)], resource.Column{Name: originColumn}, resource.Column{Name: repeatColumn, Type: resource.ColumnBoolean})
	}
	return e, nil
}

// append appends a row. An error is about the event, and nothing was appended then.
func (e *encoder) append(b []byte, v *event.Event, look *column.Look) ([]byte, error) {
	from := len(b)
	out, err := e.row(b, v, look)
	if err != nil {
		return b[:from], err
	}
	return out, nil
}

func (e *encoder) row(b []byte, v *event.Event, look *column.Look) ([]byte, error) {
	switch {
	case e.format == resource.FormatRaw:
		return append(append(b, v.Body...), '\n'), nil
	case len(e.values) == 0:
		return e.body(b, v)
	}
	size := len(b)
	if e.format == resource.FormatParquet {
		b = append(b, 0, 0, 0, 0) // its length
	}
	for i, x := range e.values {
		got, err := look.Value(x)
		if err == nil {
			got, err = column.Convert(got, e.columns[i].Type)
		}
		if err != nil {
			return nil, fault.Newf("files.Write", fault.Invalid, "column %s: %s", e.columns[i].Name, words(err)).Because(err)
		}
		switch e.format { //nolint:exhaustive // raw has no columns
		case resource.FormatParquet:
			b = got.AppendKey(b)
		case resource.FormatCSV:
			b = appendField(b, got, i > 0)
		default:
			b = got.AppendJSON(append(b, e.heads[i]...))
		}
	}
	origin, repeat := column.Value{Kind: column.Text}, column.Value{Kind: column.Bool}
	if e.marked {
		origin.Text = v.ID(e.bridge)
		if v.Repeat {
			repeat.Bits = 1
		}
	}
	switch e.format { //nolint:exhaustive // as above
	case resource.FormatParquet:
		if e.marked {
			b = repeat.AppendKey(origin.AppendKey(b))
		}
		binary.BigEndian.PutUint32(b[size:], uint32(len(b)-size-4))
	case resource.FormatCSV:
		if e.marked {
			b = appendField(appendField(b, origin, true), repeat, true)
		}
		b = append(b, "\r\n"...)
	default:
		b = append(e.marks(b, v), "}\n"...)
	}
	return b, nil
}

// marks appends members with which a row in JSON is marked.
func (e *encoder) marks(b []byte, v *event.Event) []byte {
	if !e.marked {
		return b
	}
	b = column.AppendQuoted(append(b, `,"`+originColumn+`":`...), v.ID(e.bridge))
	if v.Repeat {
		b = append(b, `,"`+repeatColumn+`":true`...)
	}
	return b
}

// body appends the event's body on one line. What is no object becomes the member value of one where rows are marked.
func (e *encoder) body(b []byte, v *event.Event) ([]byte, error) {
	from := len(b)
	line := bytes.NewBuffer(b)
	if err := json.Compact(line, v.Body); err != nil || line.Len() == from {
		return nil, fault.New("files.Write", fault.Invalid, "the body is no JSON").Advise("use the format raw, or make JSON of it in a step").Because(err)
	}
	b = line.Bytes()
	if !e.marked {
		return append(b, '\n'), nil
	}
	if b[from] != '{' {
		value := append([]byte(`{"value":`), b[from:]...)
		b = append(b[:from], value...)
	} else {
		if bytes.Contains(b[from:], []byte(originColumn)) || bytes.Contains(b[from:], []byte(repeatColumn)) {
			without, err := unmarked(b[from:])
			if err != nil {
				return nil, err
			}
			b = append(b[:from], without...)
		}
		b = b[:len(b)-1]
		if len(b) == from+1 { // it has no member that a comma could follow
			return append(bytes.Replace(e.marks(b, v), []byte("{,"), []byte("{"), 1), "}\n"...), nil
		}
	}
	return append(e.marks(b, v), "}\n"...), nil
}

// unmarked takes out what an event brings of the names of marks.
func unmarked(object []byte) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, fault.New("files.Write", fault.Invalid, "the body is no JSON").Because(err)
	}
	delete(members, originColumn)
	delete(members, repeatColumn)
	return json.Marshal(members)
}

// appendField appends a field (RFC 4180, 2). Null is an empty field, an empty text is "".
func appendField(b []byte, v column.Value, comma bool) []byte {
	if comma {
		b = append(b, ',')
	}
	if v.Kind != column.Text {
		return v.AppendText(b)
	}
	if v.Text != "" && !strings.ContainsAny(v.Text, ",\"\r\n") && v.Text[0] != ' ' && v.Text[len(v.Text)-1] != ' ' {
		return append(b, v.Text...)
	}
	b = append(b, '"')
	for i := range len(v.Text) {
		if v.Text[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, v.Text[i])
	}
	return append(b, '"')
}

// header is what stands in a file before its rows.
func (e *encoder) header() []byte {
	if e.format != resource.FormatCSV {
		return nil
	}
	var b []byte
	for i, c := range e.columns {
		b = appendField(b, column.Value{Kind: column.Text, Text: c.Name}, i > 0)
	}
	return append(b, "\r\n"...)
}

func words(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Message != "" {
		return f.Message
	}
	return err.Error()
}
