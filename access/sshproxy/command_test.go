package sshproxy

import (
	"fmt"
	"slices"
	"testing"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshproxy/filewatch"
)

func TestSimpleCommands(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"scp -t /tmp/x", []string{"scp", "-t", "/tmp/x"}},
		{`scp  -t '/tmp/a;b $x' "c d" e\ f\;`, []string{"scp", "-t", "/tmp/a;b $x", "c d", "e f;"}},
		{"scp -f ~/*.[ch]", []string{"scp", "-f", "~/*.[ch]"}},
		{"scp -t ''", []string{"scp", "-t", ""}},
		{"scp -t x; sh", nil},
		{"scp -t x|sh", nil},
		{"scp -t x&&sh", nil},
		{"scp -t x\nsh", nil},
		{"scp -t $(sh)", nil},
		{"scp -t `sh`", nil},
		{`scp -t "$(sh)"`, nil},
		{"scp -t <(sh)", nil},
		{"scp -t x >y", nil},
		{"scp -t 'x", nil},
		{`scp -t x\`, nil},
		{"PATH=/tmp scp -t x", nil},
		{"{ scp -t x", nil},
	} {
		if got := simple(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, wanted %q", c.in, got, c.want)
		}
	}
}

func TestWhichCommandsCarryFiles(t *testing.T) {
	for _, c := range []struct{ command, want string }{
		{"scp -t /tmp", "*filewatch.RCP"},
		{"scp -v -r -p -d -t -- /tmp", "*filewatch.RCP"},
		{"scp -prf /tmp/x", "*filewatch.RCP"},
		{"/usr/lib/openssh/sftp-server -e", "*filewatch.SFTP"},
		{"scp a b", "<nil>"},
		{"scp -- -t", "<nil>"},
		{"/tmp/scp -t /tmp", "<nil>"},
		{"./sftp-server", "<nil>"},
		{"scp -f x; sh >/dev/null", "<nil>"},
		{"uptime", "<nil>"},
		{" ", "<nil>"},
	} {
		if got := fmt.Sprintf("%T", watcher(c.command, filewatch.Told{File: func(session.File) {}, Note: func(string) {}})); got != c.want {
			t.Errorf("%q: %s, wanted %s", c.command, got, c.want)
		}
	}
}

func TestEchoOff(t *testing.T) {
	mode := func(op byte, v byte) string { return string([]byte{op, 0, 0, 0, v}) }
	for _, c := range []struct {
		modes string
		want  bool
	}{
		{"", false},
		{mode(53, 0), true},
		{mode(53, 1), false},
		{mode(1, 3) + mode(53, 0) + "\x00", true},
		{mode(1, 3) + "\x00" + mode(53, 0), false},
		{mode(160, 3) + mode(53, 0), false},
		{mode(53, 0)[:4], false},
	} {
		if got := echoOff(c.modes); got != c.want {
			t.Errorf("%q: %v", c.modes, got)
		}
	}
}

func FuzzRequests(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05xterm\x00\x00\x00\x50\x00\x00\x00\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00"), "scp -t '/tmp/x'")
	f.Add([]byte("\x00\x00\x00\x06LC_ALL\x00\x00\x00\x01C"), "sh -c \"a\"")
	f.Fuzz(func(t *testing.T, payload []byte, command string) {
		c := &channel{}
		c.wantTerminal(payload)
		c.resize(payload)
		harmless(payload)
		loopback(command)
		if words := simple(command); len(words) > 0 && len(command) > 0 && len(fmt.Sprint(words)) > 2*len(command)+2 {
			t.Errorf("%q became %q", command, words)
		}
	})
}
