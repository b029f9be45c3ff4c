package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// chunk is one document's text and the number of lines before it in the file.
type chunk struct {
	text   []byte
	before int
}

// split cuts a file at its document markers, so that a slip in one document does not hide the problems of the next. A line that
// begins with "---" is a marker wherever it stands, inside quotes and block text too (YAML 1.2.2, 9.1.2).
func split(data []byte) []chunk {
	var out []chunk
	var cur chunk
	line, content := 0, false
	for rest := data; len(rest) > 0; line++ {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		l := rest[:n]
		if isMarker(l) && content {
			out = append(out, cur)
			cur, content = chunk{before: line}, false
		}
		trimmed := bytes.TrimSpace(l)
		// Directives and comments belong to the document that follows them.
		content = content || (len(trimmed) > 0 && trimmed[0] != '#' && trimmed[0] != '%')
		cur.text = append(cur.text, l...)
		rest = rest[n:]
	}
	return append(out, cur)
}

func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// nodes parses the documents of one chunk.
func nodes(text []byte) ([]*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var out []*yaml.Node
	for {
		var n yaml.Node
		switch err := dec.Decode(&n); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, err
		}
		out = append(out, &n)
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line \d+: )?`)

// syntaxProblem turns the parser's words into a line and words for people.
func syntaxProblem(file string, c chunk, err error) Problem {
	raw := yamlLine.ReplaceAllString(err.Error(), "")
	line := firstLine(c.text, raw)
	p := Problem{File: file, Line: c.before + line}
	if at, ok := tabNear(c.text, line); ok {
		p.Line = c.before + at
		p.Message, p.Hint = "the line is indented with a tab", "indent with spaces"
		return p
	}
	for _, w := range syntaxWords {
		if strings.Contains(raw, w.has) {
			p.Message, p.Hint = w.message, w.hint
			return p
		}
	}
	p.Message = "this is not YAML: " + raw
	return p
}

var syntaxWords = []struct{ has, message, hint string }{
	{"mapping values are not allowed", "a ':' stands where no field can begin", `check the indentation, and put text that contains ": " in quotes`},
	{"did not find expected key", "the line does not fit the lines above it", "check its indentation: fields of one mapping begin in the same column"},
	{"could not find expected ':'", "the line is no field", `write it as "name: value"`},
	{"did not find expected '-' indicator", "the line does not fit the list above it", "check its indentation: items of one list begin in the same column"},
	{"found unexpected end of stream", "a quote is opened here and never closed", "close it"},
	{"unexpected document indicator", "a quote is opened here and never closed", "close it"},
	{"did not find expected ',' or", "a bracket is opened here and never closed", "close it, or put a comma between the items"},
	{"did not find expected node content", "a bracket is opened here and never closed, or a value is missing", "close it"},
	{"block sequence entries are not allowed", "a list item stands where none can be", `put each "- item" on a line of its own, below the field`},
	{"cannot start any token", "a value begins with a character that means something else in YAML", "put the value in quotes"},
	{"unknown escape character", `a backslash in double quotes begins no known escape`, `use single quotes, or write \\`},
	{"unknown anchor", "an alias refers to an anchor that does not exist", "write the value out"},
	{"control characters", "the file holds bytes that are no text", "save it as text in UTF-8"},
	{"UTF-8", "the file is not text in UTF-8", "save it as UTF-8"},
	{"max depth", "the nesting is too deep", "no resource is nested this deeply: write it plainly"},
}

// firstLine finds the line (1-based within text) at which the error arises: the end of the shortest beginning of the text that
// gives the same error. The parser itself names the line where the enclosing block began, which can be far above.
func firstLine(text []byte, raw string) int {
	ends := []int{0}
	for i, b := range text {
		if b == '\n' || i == len(text)-1 {
			ends = append(ends, i+1)
		}
	}
	lo, hi := 1, max(1, len(ends)-1)
	for lo < hi {
		mid := (lo + hi) / 2
		_, err := nodes(text[:ends[mid]])
		if err != nil && yamlLine.ReplaceAllString(err.Error(), "") == raw {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// tabNear tells whether the line, or the one before or after it, is indented with a tab, and which.
func tabNear(text []byte, line int) (int, bool) {
	lines := bytes.Split(text, []byte("\n"))
	for _, at := range []int{line, line - 1, line + 1} {
		if at < 1 || at > len(lines) {
			continue
		}
		l := lines[at-1]
		indent := l[:len(l)-len(bytes.TrimLeft(l, " \t"))]
		if len(indent) < len(l) && bytes.IndexByte(indent, '\t') >= 0 {
			return at, true
		}
	}
	return 0, false
}

// notText tells files that no YAML reader should be asked about.
func notText(file string, data []byte) (Problem, bool) {
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return Problem{File: file, Message: "the file is UTF-16", Hint: "save it as UTF-8"}, true
	case !utf8.Valid(data):
		for i, l := range bytes.Split(data, []byte("\n")) {
			if !utf8.Valid(l) {
				return Problem{File: file, Line: i + 1, Message: "the file is not text in UTF-8", Hint: "save it as UTF-8"}, true
			}
		}
	case len(data) > MaxFile:
		return Problem{File: file, Message: fmt.Sprintf("the file has more than %d MiB", MaxFile>>20), Hint: "split it into several"}, true
	}
	return Problem{}, false
}
