package abuse

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	sessions "github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshca/sshdtest"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

const shellTarget = `
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: shell}
spec: {agent: press-4, address: "%s", protocol: ssh, policy: recorded, ssh: {logins: [%s]}}
`

// terminal is somebody at a laptop with the system's ssh, and a machine whose SSH is recorded.
type terminal struct {
	*somebody
	auditor *somebody
	grant   client.Grant
	config  string // for ssh -F
	host    string
	machine string // a folder there
}

func startTerminal(t *testing.T, p *shop) *terminal {
	t.Helper()
	ctx := t.Context()
	m := &terminal{somebody: p.person("alice", resource.RoleOperator).login(), auditor: p.person("bob", resource.RoleApprover, resource.RoleAuditor).login(), machine: t.TempDir()}
	ca, err := m.SSHAuthority(ctx, "")
	must(t, err)
	sshd := sshdtest.Start(t, []string{ca.Users})
	p.apply(ctx, fmt.Sprintf(shellTarget, sshd.Address, sshd.Login))
	m.grant = m.letIn(m.auditor, client.GrantRequest{Target: "ot/plant-7/shell"})
	m.config, m.host = filepath.Join(m.home.Dir, "ssh_config"), sshd.Login+"@shell.plant-7.ot.isthmus"
	write(t, m.config, m.prints("access", "ssh-config"))
	await(t, "ssh", func() error {
		out, err := m.run("ssh", m.host, "true")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return m
}

// run runs one of OpenSSH's programs, with text as its input.
func (m *terminal) run(name string, args ...string) (string, error) { return m.fed("", name, args...) }

func (m *terminal) fed(text, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(m.p.t.Context(), patient)
	defer cancel()
	c := m.command(ctx, name, append([]string{"-F", m.config}, args...)...)
	c.Stdin, c.Dir = strings.NewReader(text), m.machine
	out, err := c.CombinedOutput()
	return string(out), err
}

// recorded waits for the recording of a session of this sort.
func (m *terminal) recorded(what string, is func(client.Session) bool) client.Session {
	m.p.t.Helper()
	return m.auditor.session(what, client.SessionFilter{Grant: m.grant.ID}, func(s client.Session) bool { return s.Phase == sessions.Ended && s.Recording && is(s) })
}

// plays checks a recording in all forms in which the command line shows it, and returns the plain one.
func (m *terminal) plays(id string) string {
	m.p.t.Helper()
	out, err := m.auditor.isthmus("access", "replay", id, "--no-wait")
	must(m.p.t, err)
	drawsOnly(m.p.t, out)
	return m.auditor.prints("access", "replay", id, "--text")
}

// What may stand in what is replayed: characters, colours, movements of the cursor, erasing, and modes that concern the picture alone
// (ECMA-48 5.4 and 8.3; DEC private modes by number).
var (
	drawing    = regexp.MustCompile("\x1b\\[(\\?(?:5|6|7|12|25|47|1047|1048|1049)[hl]|[0-9;:]*[ABCDEFGHIJKLMPSTXZ@`abdefgmrsu]|[0-9;]*[hl]|!p| ?q|[0-9;]* q)|\x1b[78DEHMc=>]|\x1b[()][0AB]|\x1b#8") //nolint:gochecknoglobals // compiled once
	whitespace = "\t\r\n\b\x0e\x0f"
)

func drawsOnly(t testing.TB, shown string) {
	t.Helper()
	rest := drawing.ReplaceAllString(shown, "")
	for i, r := range rest {
		if r < ' ' && !strings.ContainsRune(whitespace, r) && r != 7 || r >= 0x7f && r < 0xa0 {
			t.Errorf("a replay writes %q, in %q", r, rest[max(0, i-30):min(len(rest), i+30)])
			return
		}
	}
}

// Files may be called anything: the record has their names as they were, and nobody's terminal is told to do something by one.
func TestNamesOfFilesThatAreNotNames(t *testing.T) {
	m := startTerminal(t, startShop(t))
	names := []string{
		"-oProxyCommand=touch pwned", "\x1b]0;owned\x07", "line\nbreak", "..\\..\\windows", strings.Repeat("long", 60), "semi;touch pwned;", "$(touch pwned)", "\u202egpj.exe", "検査.bin",
	}
	from := filepath.Join(m.home.Dir, "from")
	must(t, os.Mkdir(from, 0o700))
	for _, name := range names {
		write(t, filepath.Join(from, name), "content of "+name)
	}
	must(t, os.MkdirAll(filepath.Join(m.machine, "to", "deep"), 0o700))
	to := filepath.Join(m.machine, "to")
	if out, err := m.run("scp", "-q", "-r", from, m.host+":"+to); err != nil {
		t.Fatalf("scp: %v: %s", err, out)
	}
	s := m.recorded("scp's files", func(s client.Session) bool { return len(s.Files) >= len(names) })
	for _, name := range names {
		if !slices.ContainsFunc(s.Files, func(f sessions.File) bool {
			return strings.HasSuffix(plainName(f), "/"+name) && f.Upload && f.SHA256 != ""
		}) {
			t.Errorf("%q is not among the files of the session: %+v", name, s.Files)
		}
	}
	// Out of the folder, by the system's own sftp and by the old scp, raw.
	climbing := filepath.Join(to, "deep") + "/../../climbed"
	if out, err := m.fed(fmt.Sprintf("put %q %q\n", filepath.Join(from, "検査.bin"), climbing), "sftp", "-q", "-b", "-", m.host); err != nil {
		t.Fatalf("sftp: %v: %s", err, out)
	}
	m.recorded("a path that climbs", func(s client.Session) bool {
		return slices.ContainsFunc(s.Files, func(f sessions.File) bool { return f.Name == climbing })
	})
	evil := "\x1b[2J\x1b]52;c;b3duZWQ=\x07evil"
	_, _ = m.fed("C0644 5 "+evil+"\nhello\x00C0644 5 ../../../etc/passwd\nhello\x00C0644 5 "+strings.Repeat("n", 4096)+"\nhello\x00", "ssh", m.host, "scp -t "+to)
	s = m.recorded("the old scp", func(s client.Session) bool {
		return len(s.Commands)+len(s.Files) > 0 && strings.Contains(fmt.Sprint(s.Commands, s.Files), "evil")
	})
	if !slices.ContainsFunc(s.Files, func(f sessions.File) bool { return strings.HasSuffix(plainName(f), evil) }) {
		t.Errorf("the name is not what was sent: %+v", s.Files)
	}
	for _, f := range s.Files {
		if len(f.Name) > sessions.MaxText {
			t.Errorf("a name of %d bytes was kept", len(f.Name))
		}
	}
	// A name of 4 KB in SFTP (SSH_FXP_INIT, then SSH_FXP_OPEN for writing; draft-ietf-secsh-filexfer-02 4, 6.3).
	long := strings.Repeat("/n", 2048)
	open := append([]byte{3, 0, 0, 0, 1, 0, 0, byte(len(long) >> 8), byte(len(long))}, long...)
	open = append(open, 0, 0, 0, 0x1a, 0, 0, 0, 0)
	packet := append([]byte{0, 0, 0, 5, 1, 0, 0, 0, 3, 0, 0, byte(len(open) >> 8), byte(len(open))}, open...)
	_, _ = m.fed(string(packet), "ssh", "-s", m.host, "sftp")
	for _, file := range []string{"pwned", "to/pwned"} {
		if _, err := os.Stat(filepath.Join(m.machine, file)); err == nil {
			t.Errorf("a name was run: %s is there", file)
		}
	}
	for _, args := range [][]string{
		{"access", "sessions", "-o", "wide"}, {"access", "sessions", "-o", "json"}, {"access", "sessions", "-o", "yaml"}, {"audit", "list", "--all"}, {"audit", "list", "--all", "-o", "json"},
	} {
		m.auditor.prints(args...)
	}
	list, err := m.auditor.Sessions(t.Context(), client.SessionFilter{Grant: m.grant.ID})
	must(t, err)
	for _, s := range list {
		if s.Recording {
			m.plays(s.ID)
		}
	}
	tame(t, "the machine's log", m.p.press.Log())
	tame(t, "the server's log", m.p.server.Log())
	m.p.audited()
}

// plainName is a file's name as it was: one that is not fit to be shown stands in quotes, with escapes.
func plainName(f sessions.File) string {
	if name, err := strconv.Unquote(f.Name); err == nil {
		return name
	}
	return f.Name
}

// A recording that is made to harm whoever plays it draws, and does nothing else.
func TestRecordingsThatAreHostile(t *testing.T) {
	m := startTerminal(t, startShop(t))
	var b bytes.Buffer
	b.WriteString("begin")
	for _, h := range hostile {
		b.WriteString(h)
	}
	for _, h := range []string{
		"\x1b[6n", "\x1b[c", "\x1b[>c", "\x1b[5n", "\x1b[21t", "\x1b[8;999;999t", "\x1bZ", "\x05", "\x1b]8;;file:///etc/passwd\x1b\\link\x1b]8;;\x1b\\", "\x1b_Gf=24;AAAA\x1b\\", "\x1b^pm\x1b\\",
		"\x1bXsos\x1b\\", "\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\", "\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b[?1004h", "\x1b[?9001h", "\x1b]1337;File=:AAAA\x07", "\x1b]50;?\x07", "\x1b]4;1;?\x07", "\x1b[22;0t",
		"\x1b[=5u\x1b[>1u", "\x1b[4i\x1b[5i", "\x1b]777;notify;a;b\x07", "\x90q\x9c", "\x1b\x1b]0;x\x07", "\x1b]0;never ended",
	} {
		b.WriteString(h + "drawn")
	}
	random := rand.New(rand.NewPCG(5, 7))
	alphabet := []string{"\x1b", "[", "]", "P", "?", ";", "0", "1", "52", "c", "n", "t", "h", "l", "q", "\\", "\x07", "\x18", "\x9b", "\u009d", "\u0090", "x", " ", "!", "$", ">", "\r\n", "\x1b[", "\x1b]", "ü", "\xff"}
	for range 60_000 {
		b.WriteString(alphabet[random.IntN(len(alphabet))])
	}
	b.WriteString("\x18\x1b\\\x1bc\r\nend\r\n")
	file := filepath.Join(m.machine, "hostile")
	must(t, os.WriteFile(file, b.Bytes(), 0o600))
	if out, err := m.run("ssh", "-tt", m.host, "stty raw; cat "+file); err != nil || !strings.Contains(out, "end") {
		t.Fatalf("ssh: %v: %q", err, out[max(0, len(out)-300):])
	}
	s := m.recorded("the terminal", func(s client.Session) bool { return s.Received > 60_000 })
	if text := m.plays(s.ID); !strings.Contains(text, "begin") || !strings.Contains(text, "drawn") || !strings.Contains(text, "end") {
		t.Errorf("what was drawn is not shown: %q", text[:min(len(text), 500)])
	}
	if cast, err := m.auditor.isthmus("access", "replay", s.ID, "--cast"); err != nil || !strings.Contains(cast, "never ended") {
		t.Errorf("the cast is not what was recorded: %v", err)
	}
	if n := said(m.p.audited(), `"replay"`); n != 3 {
		t.Errorf("%d replays are recorded of 3", n)
	}
}
