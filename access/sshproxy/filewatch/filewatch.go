package filewatch

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
)

// Told are the functions that a watcher calls, never two at once. File is called once for each file, when it is over; Note for what else
// was done to files, such as "removed a/b".
type Told struct {
	File func(session.File)
	Note func(text string)
}

// Watcher reads along one channel. FromPerson and FromMachine are given what passes, before it passes, in pieces of any size; their error
// is an Invalid fault: the traffic cannot be followed any more. End tells of files that were never finished.
type Watcher interface {
	FromPerson(p []byte) error
	FromMachine(p []byte) error
	End()
}

// lost is the error of traffic that cannot be followed.
func lost(why string) error {
	return fault.New("filewatch", fault.Invalid, "what is carried cannot be followed: "+why)
}

// Printable returns a name or command as it can stand in a record and in a terminal: unchanged when all of it is printable UTF-8, else quoted
// as Go quotes strings; cut to the most bytes a record has room for.
func Printable(s string) string {
	if len(s) > 4*session.MaxText {
		s = s[:4*session.MaxText]
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strconv.Quote(s)
	}
	if len(s) > session.MaxText {
		s = strings.ToValidUTF8(s[:session.MaxText-3], "") + "..."
	}
	return s
}
