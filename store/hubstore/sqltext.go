package hubstore

import "strings"

// fragment is a piece of a statement with what is bound to its question marks. Nothing a user wrote ever stands in the text.
type fragment struct {
	text string
	args []any
}

// sqlf puts fragments where the @ are.
func sqlf(pattern string, parts ...fragment) fragment {
	var b strings.Builder
	var args []any
	for _, p := range parts {
		before, behind, _ := strings.Cut(pattern, "@")
		b.WriteString(before)
		b.WriteString(p.text)
		args = append(args, p.args...)
		pattern = behind
	}
	b.WriteString(pattern)
	return fragment{b.String(), args}
}

func raw(text string) fragment { return fragment{text: text} }

var (
	sqlTrue  = raw("TRUE")
	sqlFalse = raw("FALSE")
	sqlNull  = raw("NULL")
)

// joined balances a long list of conditions, because both databases bound how deep an expression may be.
func joined(by string, parts []fragment) fragment {
	if len(parts) == 1 {
		return parts[0]
	}
	half := len(parts) / 2
	return sqlf("(@ "+by+" @)", joined(by, parts[:half]), joined(by, parts[half:]))
}

// commas writes a list.
func commas(parts []fragment) fragment {
	texts := make([]string, len(parts))
	var args []any
	for i, p := range parts {
		texts[i] = p.text
		args = append(args, p.args...)
	}
	return fragment{strings.Join(texts, ", "), args}
}

// when is one branch of a CASE.
type when struct{ if_, then fragment }

// cases writes a CASE whose ELSE is NULL, which is what undefined is in SQL. Branches that can never be taken are left out.
func cases(branches ...when) fragment {
	out := raw("")
	for _, w := range branches {
		if w.if_.text == "FALSE" {
			continue
		}
		if w.if_.text == "TRUE" {
			if out.text == "" {
				return w.then
			}
			return sqlf("CASE@ ELSE @ END", out, w.then)
		}
		out = sqlf("@ WHEN @ THEN @", out, w.if_, w.then)
	}
	if out.text == "" {
		return sqlNull
	}
	return sqlf("CASE@ END", out)
}

// and leaves out what is always true.
func and(a, b fragment) fragment {
	switch {
	case a.text == "TRUE":
		return b
	case b.text == "TRUE":
		return a
	case a.text == "FALSE" || b.text == "FALSE":
		return sqlFalse
	}
	return sqlf("(@ AND @)", a, b)
}
