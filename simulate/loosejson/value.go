package loosejson

import (
	"encoding/json"
	"unicode/utf8"
)

// Kind is what a value is.
type Kind uint8

const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Value is one JSON value.
type Value struct {
	Kind    Kind
	Text    string   // of a string, its content; of a number, as written; of a bool, true or false; of null, empty
	Members []Member // of an array, without names; of an object, in the order written
}

// Member is one element of an array or member of an object.
type Member struct {
	Name  string
	Value Value
}

// Scalar tells whether the value holds no others.
func (v Value) Scalar() bool { return v.Kind != Array && v.Kind != Object }

// Append writes the value after dst as strict JSON on one line.
func (v Value) Append(dst []byte) []byte {
	switch v.Kind {
	case Null:
		return append(dst, "null"...)
	case Bool, Number:
		return append(dst, v.Text...)
	case String:
		return AppendString(dst, v.Text)
	}
	open, end := byte('['), byte(']')
	if v.Kind == Object {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	for i, m := range v.Members {
		if i > 0 {
			dst = append(dst, ',')
		}
		if v.Kind == Object {
			dst = append(AppendString(dst, m.Name), ':')
		}
		dst = m.Value.Append(dst)
	}
	return append(dst, end)
}

// AppendString writes text after dst as a JSON string: only what must be escaped is (RFC 8259, 7).
func AppendString(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r < ' ':
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// isNumber tells whether a bare word is a number of JSON.
func isNumber(word string) bool {
	return word != "" && (word[0] == '-' || word[0] >= '0' && word[0] <= '9') && json.Valid([]byte(word))
}
