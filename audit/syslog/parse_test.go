package syslog_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// message is what a receiver reads.
type message struct {
	facility, severity       int
	at                       time.Time
	host, app, process, kind string
	sdID                     string
	params                   map[string]string
	text                     string
}

// parse takes exactly the grammar of RFC 5424, clause 6, with one element of structured data and a MSG in UTF-8.
func parse(s string) (m message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	if !utf8.ValidString(s) {
		panic("no UTF-8")
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			panic(fmt.Sprintf("the control character %U", c))
		}
	}
	take := func(until string) string {
		before, after, ok := strings.Cut(s, until)
		if !ok {
			panic("no " + until)
		}
		s = after
		return before
	}
	if take("<") != "" {
		panic("something before the PRI")
	}
	pri, err := strconv.Atoi(take(">"))
	if err != nil || pri < 0 || pri > 191 {
		panic("PRI")
	}
	m.facility, m.severity = pri/8, pri%8
	if take(" ") != "1" {
		panic("VERSION")
	}
	if at := take(" "); at != "-" {
		if m.at, err = time.Parse(time.RFC3339Nano, at); err != nil || len(at) > len("2026-11-22T08:00:00.123456+00:00") {
			panic("TIMESTAMP " + at)
		}
	}
	for _, f := range []struct {
		into *string
		most int
	}{{&m.host, 255}, {&m.app, 48}, {&m.process, 128}, {&m.kind, 32}} {
		*f.into = take(" ")
		if len(*f.into) == 0 || len(*f.into) > f.most || strings.ContainsFunc(*f.into, func(c rune) bool { return c <= ' ' || c > 126 }) {
			panic("a header field: " + *f.into)
		}
	}
	if take("[") != "" {
		panic("something before the structured data")
	}
	m.sdID = take(" ")
	m.params = map[string]string{}
	for {
		name := take(`="`)
		if name == "" || len(name) > 32 || strings.ContainsAny(name, ` ="]`) {
			panic("PARAM-NAME " + name)
		}
		if _, ok := m.params[name]; ok {
			panic("twice " + name)
		}
		var value strings.Builder
		for {
			c, n := utf8.DecodeRuneInString(s)
			if n == 0 {
				panic("no end of " + name)
			}
			s = s[n:]
			if c == '"' {
				break
			}
			if c == ']' {
				panic("a bare ]")
			}
			if c == '\\' {
				if c, n = utf8.DecodeRuneInString(s); c != '"' && c != '\\' && c != ']' {
					panic("a bare \\")
				}
				s = s[n:]
			}
			value.WriteRune(c)
		}
		m.params[name] = value.String()
		switch {
		case strings.HasPrefix(s, " "):
			s = s[1:]
			continue
		case strings.HasPrefix(s, "] "):
			s = s[2:]
		default:
			panic("after " + name)
		}
		break
	}
	text, ok := strings.CutPrefix(s, "\uFEFF")
	if !ok {
		panic("no BOM")
	}
	m.text = text
	return m, nil
}
