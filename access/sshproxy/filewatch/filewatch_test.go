package filewatch_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshproxy/filewatch"
	"github.com/isthmus-io/isthmus/fault"
)

// said collects what a watcher tells, each on a line.
type said struct{ lines []string }

func (s *said) told() filewatch.Told {
	return filewatch.Told{
		File: func(f session.File) {
			way := "down"
			if f.Upload {
				way = "up"
			}
			sum := "-"
			if f.SHA256 != "" {
				sum = f.SHA256[:8]
			}
			s.lines = append(s.lines, fmt.Sprintf("%s %s %d %s", way, f.Name, f.Size, sum))
		},
		Note: func(text string) { s.lines = append(s.lines, text) },
	}
}

func sum(content string) string {
	h := sha256.Sum256([]byte(content))
	return hex.EncodeToString(h[:])[:8]
}

// step is what one side sends: ">" the person, "<" the machine.
type step struct{ from, data string }

// play feeds steps to a watcher, in pieces of a size (0: whole), and returns what it told.
func play(w filewatch.Watcher, s *said, size int, steps []step) ([]string, error) {
	var last error
	for _, st := range steps {
		p := []byte(st.data)
		for len(p) > 0 {
			n := len(p)
			if size > 0 {
				n = min(n, size)
			}
			feed := w.FromPerson
			if st.from == "<" {
				feed = w.FromMachine
			}
			if err := feed(p[:n]); err != nil {
				last = err
			}
			p = p[n:]
		}
	}
	w.End()
	w.End()
	return s.lines, last
}

func check(t *testing.T, make func(filewatch.Told) filewatch.Watcher, steps []step, want []string, lost string) {
	t.Helper()
	for _, size := range []int{0, 1, 3} {
		s := &said{}
		got, err := play(make(s.told()), s, size, steps)
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: told %q, wanted %q", size, got, want)
		}
		if (lost == "") != (err == nil) || err != nil && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), lost)) {
			t.Errorf("in pieces of %d: %v, wanted %q", size, err, lost)
		}
	}
}

const ok = "\x00"

func TestRCP(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
		want  []string
		lost  string
	}{
		{"a file", []step{{"<", ok}, {">", "C0644 5 x\n"}, {"<", ok}, {">", "hello" + ok}, {"<", ok}}, []string{"up x 5 " + sum("hello")}, ""},
		{"an empty one", []step{{"<", ok}, {">", "C0644 0 x\n"}, {"<", ok}, {">", ok}, {"<", ok}}, []string{"up x 0 " + sum("")}, ""},
		{"with times", []step{{"<", ok}, {">", "T1 0 1 0\n"}, {"<", ok}, {">", "C0644 1 a b\n"}, {"<", ok}, {">", "1" + ok}, {"<", ok}}, []string{"up a b 1 " + sum("1")}, ""},
		{"folders", []step{
			{"<", ok}, {">", "D0755 0 d\n"}, {"<", ok}, {">", "D0755 0 e\n"}, {"<", ok}, {">", "C0644 1 x\n"}, {"<", ok}, {">", "1" + ok}, {"<", ok}, {">", "E\n"}, {"<", ok},
			{">", "C0644 1 y\n"}, {"<", ok}, {">", "2" + ok}, {"<", ok}, {">", "E\n"}, {"<", ok}, {">", "E\n"}, {"<", ok}, {">", "C0644 0 z\n"}, {"<", ok}, {">", ok}, {"<", ok},
		}, []string{"up d/e/x 1 " + sum("1"), "up d/y 1 " + sum("2"), "up z 0 " + sum("")}, ""},
		{"a folder that is refused", []step{
			{"<", ok}, {">", "D0755 0 d\n"}, {"<", "\x01no\n"}, {">", "C0644 1 x\n"}, {"<", ok}, {">", "1" + ok}, {"<", ok},
		}, []string{"up x 1 " + sum("1")}, ""},
		{"a path trick", []step{{"<", ok}, {">", "C0644 1 ../../etc/passwd\n"}, {"<", ok}, {">", "1" + ok}, {"<", ok}}, []string{"up ../../etc/passwd 1 " + sum("1")}, ""},
		{"a name for the terminal", []step{{"<", ok}, {">", "C0644 1 \x1b]0;x\a\n"}, {"<", ok}, {">", "1" + ok}, {"<", ok}}, []string{`up "\x1b]0;x\a" 1 ` + sum("1")}, ""},
		{"refused by the sink", []step{{"<", ok}, {">", "C0644 5 x\n"}, {"<", "\x01scp: x: Permission denied\n"}, {">", "C0644 1 y\n"}, {"<", ok}, {">", "1" + ok}, {"<", ok}},
			[]string{"not carried: x", "up y 1 " + sum("1")}, ""},
		{"an error of the source", []step{{"<", ok}, {">", "\x01scp: x: No such file\n"}, {">", "C0644 1 y\n"}, {"<", ok}, {">", "1" + ok}, {"<", ok}},
			[]string{"not carried: scp: x: No such file", "up y 1 " + sum("1")}, ""},
		{"an error while reading", []step{{"<", ok}, {">", "C0644 2 x\n"}, {"<", ok}, {">", "1\x00\x01scp: x: I/O\n"}, {"<", ok}}, []string{"up x 2 -"}, ""},
		{"an error while writing", []step{{"<", ok}, {">", "C0644 2 x\n"}, {"<", ok}, {">", "12" + ok}, {"<", "\x01disk full\n"}}, []string{"up x 2 -"}, ""},
		{"a connection that is lost", []step{{"<", ok}, {">", "C0644 100 x\n"}, {"<", ok}, {">", "12"}}, []string{"up x 2 -"}, ""},
		{"a source that does not wait", []step{{">", "C0644 2 x\n12" + ok}, {"<", ok + ok + ok}}, []string{"up x 2 " + sum("12")}, ""},
		{"lines that are content where they were refused", []step{{"<", ok}, {">", "C0644 12 x\nC0644 1 y\n1" + ok}, {"<", "\x01no\n" + ok + ok}}, []string{"not carried: x", "up y 1 " + sum("1")}, ""},
		{"a source that never waits", []step{{">", strings.Repeat("x", 70000)}}, nil, "does not wait"},
		{"a sink that talks", []step{{"<", ok}, {"<", "ls -l\n"}}, nil, "an answer is none"},
		{"that goes on and on", []step{{"<", ok}, {"<", strings.Repeat("\x01ls\n", 9)}}, nil, "answers to nothing"},
		{"that has much to say", []step{{"<", ok}, {"<", "\x01" + strings.Repeat("x", 5000)}}, nil, "no end of words"},
		{"with more words than one about a file", []step{{"<", ok}, {">", "C0644 1 x\n"}, {"<", ok}, {">", "1" + ok}, {"<", "\x01set mode\n\x01set times\n"}, {">", "C0644 1 y\n"}, {"<", ok}, {">", "1" + ok}, {"<", ok}},
			[]string{"up x 1 -", "up y 1 " + sum("1")}, ""},
		{"another protocol", []step{{"<", ok}, {">", "GET / HTTP/1.1\n"}}, nil, "none of the protocol"},
		{"no name", []step{{"<", ok}, {">", "C0644 1\n"}}, nil, "no name"},
		{"no name of a folder, and the answers at once", []step{{">", "D0755 0\n"}, {"<", ok + "\x01no\n" + ok}}, nil, "no name"},
		{"a size below zero", []step{{"<", ok}, {">", "C0644 -1 x\n"}}, nil, "no size"},
		{"an empty line", []step{{"<", ok}, {">", "\n"}}, nil, "empty"},
		{"a line without end", []step{{"<", ok}, {">", "C0644 1 " + strings.Repeat("x", 5000)}}, nil, "too long"},
		{"folders without end", append([]step{{"<", ok}}, slices.Repeat([]step{{">", "D0755 0 d\n"}, {"<", ok}}, 300)...), nil, "too many folders"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, func(told filewatch.Told) filewatch.Watcher { return filewatch.NewRCP(true, told) }, c.steps, c.want, c.lost)
			// The same the other way round.
			var other []step
			for _, s := range c.steps {
				other = append(other, step{map[string]string{"<": ">", ">": "<"}[s.from], s.data})
			}
			var want []string
			for _, w := range c.want {
				want = append(want, strings.Replace(w, "up ", "down ", 1))
			}
			check(t, func(told filewatch.Told) filewatch.Watcher { return filewatch.NewRCP(false, told) }, other, want, c.lost)
		})
	}
}

// packet makes one of SFTP: numbers of a size, strings and content.
func packet(kind byte, parts ...any) string {
	b := []byte{kind}
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		case uint64:
			b = binary.BigEndian.AppendUint64(b, p)
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + string(b)
}

const (
	write, create, trunc, excl, appending = 2, 8, 16, 32, 4
)

func open(id int, name string, flags int) step { return step{">", packet(3, id, name, flags, 0)} }
func handle(id int, h string) step             { return step{"<", packet(102, id, h)} }
func put(id int, h string, offset uint64, content string) step {
	return step{">", packet(6, id, h, offset, content)}
}
func get(id int, h string, offset uint64, n int) step { return step{">", packet(5, id, h, offset, n)} }
func content(id int, s string) step                   { return step{"<", packet(103, id, s)} }
func status(id, code int) step                        { return step{"<", packet(101, id, code, "words", "en")} }
func shut(id int, h string) step                      { return step{">", packet(4, id, h)} }

func TestSFTP(t *testing.T) {
	hello := []step{{">", packet(1, 3)}, {"<", packet(2, 3, "posix-rename@openssh.com", "1")}}
	many := make([]step, 0, 9000)
	many = append(many, open(1, "x", 1), handle(1, "h"))
	for i := range 8300 {
		many = append(many, get(i+2, "h", 0, 1))
	}
	files := make([]step, 0, 2200)
	for i := range 1100 {
		files = append(files, open(i, "x", 1), handle(i, fmt.Sprint(i)))
	}
	for _, c := range []struct {
		name  string
		steps []step
		want  []string
		lost  string
	}{
		{"an upload", []step{
			open(1, "/tmp/x", write|create|trunc), handle(1, "h"), put(2, "h", 0, "hel"), put(3, "h", 3, "lo"), status(2, 0), status(3, 0), shut(4, "h"), status(4, 0),
		}, []string{"up /tmp/x 5 " + sum("hello")}, ""},
		{"an empty one", []step{open(1, "x", write|create|excl), handle(1, "h"), shut(4, "h"), status(4, 0)}, []string{"up x 0 " + sum("")}, ""},
		{"over a longer file", []step{open(1, "x", write|create), handle(1, "h"), put(2, "h", 0, "a"), status(2, 0), shut(4, "h"), status(4, 0)}, []string{"up x 1 -"}, ""},
		{"over a longer file, which is cut", []step{
			open(1, "x", write|create), handle(1, "h"), put(2, "h", 0, "a"), status(2, 0), {">", packet(10, 3, "h", 1, uint64(1))}, status(3, 0), shut(4, "h"), status(4, 0),
		}, []string{"up x 1 " + sum("a")}, ""},
		{"that is made longer", []step{
			open(1, "x", write|trunc), handle(1, "h"), put(2, "h", 0, "a"), status(2, 0), {">", packet(10, 3, "h", 1, uint64(9))}, status(3, 0), shut(4, "h"), status(4, 0),
		}, []string{"up x 1 -"}, ""},
		{"appended", []step{open(1, "x", write|trunc|appending), handle(1, "h"), put(2, "h", 0, "a"), status(2, 0), shut(4, "h"), status(4, 0)}, []string{"up x 1 -"}, ""},
		{"with a gap", []step{open(1, "x", write|trunc), handle(1, "h"), put(2, "h", 7, "a"), status(2, 0), shut(4, "h"), status(4, 0)}, []string{"up x 8 -"}, ""},
		{"written twice", []step{
			open(1, "x", write|trunc), handle(1, "h"), put(2, "h", 0, "ab"), put(3, "h", 0, "c"), status(2, 0), status(3, 0), shut(4, "h"), status(4, 0),
		}, []string{"up x 2 -"}, ""},
		{"that failed", []step{open(1, "x", write|trunc), handle(1, "h"), put(2, "h", 0, "a"), status(2, 4), shut(4, "h"), status(4, 0)}, []string{"up x 1 -"}, ""},
		{"that failed at the end", []step{open(1, "x", write|trunc), handle(1, "h"), put(2, "h", 0, "a"), status(2, 0), shut(4, "h"), status(4, 4)}, []string{"up x 1 -"}, ""},
		{"nobody waited for", []step{open(1, "x", write|trunc), handle(1, "h"), put(2, "h", 0, "a"), shut(4, "h"), status(4, 0)}, []string{"up x 1 -"}, ""},
		{"never closed", []step{open(1, "x", write|trunc), handle(1, "h"), put(2, "h", 0, "a"), status(2, 0)}, []string{"up x 1 -"}, ""},
		{"refused", []step{open(1, "x", write|trunc), status(1, 3)}, nil, ""},
		{"over another, which is said to be none", []step{open(1, "x", write|excl), handle(1, "h"), put(2, "h", 0, "a"), status(2, 0), shut(4, "h"), status(4, 0)}, []string{"up x 1 -"}, ""},
		{"by a handle that was guessed", []step{
			open(1, "x", write|create|trunc), put(2, "h", 0, "a"), shut(3, "h"), handle(1, "h"), status(2, 0), status(3, 0),
		}, nil, "no open file has"},
		{"by the handle of a file before", []step{
			open(1, "x", write|create|trunc), handle(1, "h"), shut(2, "h"), open(3, "y", write|create|trunc), put(4, "h", 0, "a"), status(2, 0), handle(3, "h"), status(4, 0),
		}, []string{"up x 0 -"}, "no open file has"},
		{"made longer by a handle that was guessed", []step{open(1, "x", write|trunc), {">", packet(10, 3, "h", 1, uint64(9))}}, nil, "no open file has"},
		{"read by a handle that was guessed", []step{open(1, "x", 1), get(2, "h", 0, 3)}, nil, "no open file has"},
		{"copied into by a handle that was guessed", []step{
			open(1, "x", write|trunc), {">", packet(200, 7, "copy-data", "g", uint64(0), uint64(0), "h", uint64(0))}, handle(1, "h"), status(7, 0), shut(4, "h"), status(4, 0),
		}, []string{"copied on the machine", "up x 0 -"}, ""},

		{"a download", []step{
			open(1, "../../etc/passwd", 1), handle(1, "h"), get(2, "h", 0, 3), get(3, "h", 3, 3), get(4, "h", 6, 3), content(2, "hel"), content(3, "lo"), status(4, 1),
			get(5, "h", 5, 1), status(5, 1), shut(6, "h"), status(6, 0),
		}, []string{"down ../../etc/passwd 5 " + sum("hello")}, ""},
		{"in part", []step{open(1, "x", 1), handle(1, "h"), get(2, "h", 0, 3), content(2, "hel"), shut(6, "h"), status(6, 0)}, []string{"down x 3 -"}, ""},
		{"from the middle", []step{open(1, "x", 1), handle(1, "h"), get(2, "h", 3, 3), content(2, "lo"), get(3, "h", 5, 1), status(3, 1), shut(6, "h"), status(6, 0)}, []string{"down x 5 -"}, ""},
		{"of nothing", []step{open(1, "x", 1), handle(1, "h"), get(2, "h", 0, 3), status(2, 1), shut(6, "h"), status(6, 0)}, []string{"down x 0 " + sum("")}, ""},
		{"looked at only", []step{open(1, "x", 1), handle(1, "h"), shut(6, "h"), status(6, 0)}, nil, ""},

		{"deeds", []step{
			{">", packet(13, 1, "a")}, status(1, 0), {">", packet(13, 1, "b")}, status(1, 2), {">", packet(14, 2, "d", 0)}, status(2, 0), {">", packet(15, 3, "d")}, status(3, 0),
			{">", packet(18, 4, "a", "b\n")}, status(4, 0), {">", packet(20, 5, "t", "l")}, status(5, 0), {">", packet(9, 6, "a", 4, 0o777)}, status(6, 0),
			{">", packet(200, 7, "posix-rename@openssh.com", "a", "b")}, status(7, 0), {">", packet(200, 8, "hardlink@openssh.com", "a", "b")}, status(8, 0),
			{">", packet(200, 9, "lsetstat@openssh.com", "a", 0)}, status(9, 0), {">", packet(200, 10, "statvfs@openssh.com", "/")}, status(10, 0),
			{">", packet(200, 11, "new@example.com", "x")}, status(11, 0), {">", packet(17, 12, "/etc")}, {"<", packet(105, 12, 0)},
		}, []string{
			"removed a", "made the folder d", "removed the folder d", `renamed a to "b\n"`, "linked t and l", "changed the attributes of a", "renamed a to b", "linked a as b",
			"changed the attributes of a", "used the extension new@example.com",
		}, ""},
		{"a copy on the machine", []step{
			open(1, "x", write|trunc), handle(1, "h"), put(2, "h", 0, "a"), status(2, 0), {">", packet(200, 7, "copy-data", "g", uint64(0), uint64(0), "h", uint64(1))}, status(7, 0), shut(4, "h"), status(4, 0),
		}, []string{"copied on the machine", "up x 1 -"}, ""},
		{"folders that are listed", []step{
			{">", packet(11, 1, "/tmp")}, handle(1, "d"), {">", packet(12, 2, "d")}, {"<", packet(104, 2, 1, strings.Repeat("x", 100_000), "l", 0)}, shut(3, "d"), status(3, 0),
			open(4, "x", 1), handle(4, "h"), get(5, "h", 0, 1), content(5, "1"), get(6, "h", 1, 1), status(6, 1), shut(7, "h"), status(7, 0),
		}, []string{"down x 1 " + sum("1")}, ""},

		{"an empty packet", []step{{">", "\x00\x00\x00\x00"}, {">", "x"}}, nil, "empty"},
		{"a packet without end", []step{{">", "\x7f\xff\xff\xff\x03"}}, nil, "too long"},
		{"a packet that is too short", []step{{">", "\x00\x00\x00\x02\x06a"}}, nil, "too short"},
		{"a handle without end", []step{{">", packet(6, 1, strings.Repeat("h", 300), uint64(0), "a")}}, nil, "handle is too long"},
		{"content of another length", []step{{">", packet(6, 1, "h", uint64(0), 3, []byte("abcd"))}}, nil, "another length"},
		{"a name that ends behind the packet", []step{{">", packet(3, 1, 1000, []byte("x"))}}, nil, "no name"},
		{"no flags", []step{{">", packet(3, 1, "x")}}, nil, "no flags"},
		{"a file beyond all ends", []step{open(1, "x", write), handle(1, "h"), put(2, "h", 1<<63, "a")}, nil, "beyond"},
		{"the same number twice", []step{open(1, "x", 1), open(1, "y", 1)}, nil, "same number"},
		{"requests without end", many, nil, "not answered"},
		{"files without end", files, nil, "too many files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, func(told filewatch.Told) filewatch.Watcher { return filewatch.NewSFTP(told) }, append(slices.Clone(hello), c.steps...), c.want, c.lost)
		})
	}
}

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"../../etc/passwd", "../../etc/passwd"},
		{`a\b "c"`, `a\b "c"`},
		{"gr\u00fc\u00df", "gr\u00fc\u00df"},
		{"a\nb", `"a\nb"`},
		{"\x1b[31m", `"\x1b[31m"`},
		{"\xff", `"\xff"`},
		{"\u202egpj.exe", `"\u202egpj.exe"`},
		{"a\u00a0b", `"a\u00a0b"`},
	} {
		if got := filewatch.Printable(c.in); got != c.want {
			t.Errorf("%q became %s, wanted %s", c.in, got, c.want)
		}
	}
	if got := filewatch.Printable(strings.Repeat("\u00fc", 5000)); len(got) > session.MaxText || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

// fuzzed plays a script in which each line's first byte says who speaks.
func fuzzed(t *testing.T, make func(filewatch.Told) filewatch.Watcher, script []byte) {
	run := func(size int) ([]string, error) {
		var steps []step
		for p := script; len(p) > 2; {
			n := min(int(binary.BigEndian.Uint16(p))&0x3ff, len(p)-2)
			steps = append(steps, step{map[bool]string{true: ">", false: "<"}[p[0]&0x80 != 0], string(p[2 : 2+n])})
			p = p[2+n:]
		}
		s := &said{}
		return play(make(s.told()), s, size, steps)
	}
	whole, err := run(0)
	for _, line := range whole {
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("it told %q", line)
		}
	}
	parts, err2 := run(1)
	if (err == nil) != (err2 == nil) || err == nil && !slices.Equal(whole, parts) {
		t.Errorf("whole: %q, %v; byte by byte: %q, %v", whole, err, parts, err2)
	}
}

func script(steps ...step) []byte {
	var b []byte
	for _, s := range steps {
		n := uint16(len(s.data))
		if s.from == ">" {
			n |= 0x8000
		}
		b = append(binary.BigEndian.AppendUint16(b, n), s.data...)
	}
	return b
}

func FuzzRCP(f *testing.F) {
	f.Add(true, script(step{"<", ok}, step{">", "C0644 5 x\n"}, step{"<", ok}, step{">", "hello" + ok}, step{"<", ok}))
	f.Add(false, script(step{">", ok}, step{"<", "D0755 0 \x1b\nC0644 1 x\n"}, step{">", ok + "\x01no\n"}, step{"<", "E\n"}))
	f.Fuzz(func(t *testing.T, upload bool, b []byte) {
		fuzzed(t, func(told filewatch.Told) filewatch.Watcher { return filewatch.NewRCP(upload, told) }, b)
	})
}

func FuzzSFTP(f *testing.F) {
	f.Add(script(open(1, "x\x1b", write|trunc), handle(1, "h"), put(2, "h", 0, "abc"), status(2, 0), shut(3, "h"), status(3, 0)))
	f.Add(script(open(1, "x", 1), handle(1, "h"), get(2, "h", 0, 3), content(2, "abc"), get(3, "h", 3, 3), status(3, 1), shut(4, "h"), status(4, 0)))
	f.Add(script(step{">", packet(18, 4, "a", "b")}, status(4, 0), step{">", packet(200, 5, "copy-data")}, status(5, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzed(t, func(told filewatch.Told) filewatch.Watcher { return filewatch.NewSFTP(told) }, b)
	})
}

func BenchmarkSFTP(b *testing.B) {
	s := &said{}
	w := filewatch.NewSFTP(s.told())
	_, _ = w.FromPerson([]byte(open(1, "x", write|trunc).data)), w.FromMachine([]byte(handle(1, "h").data))
	block := strings.Repeat("x", 32<<10)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	offset := uint64(0)
	head := []byte(put(2, "h", 0, block).data)
	answer := []byte(status(2, 0).data)
	for b.Loop() {
		binary.BigEndian.PutUint64(head[14:], offset)
		if err := w.FromPerson(head); err != nil {
			b.Fatal(err)
		}
		if err := w.FromMachine(answer); err != nil {
			b.Fatal(err)
		}
		offset += uint64(len(block))
	}
}
