package sshproxy_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/access/sshca/sshdtest"
	"github.com/isthmus-io/isthmus/access/sshproxy"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

func TestACommandOfTheRealSSH(t *testing.T) {
	w := newWorld(t)
	c := exec.Command("ssh", append(w.options(w.ca, w.pass()), w.where(), "echo out; echo err >&2; exit 7")...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 7 || out.String() != "out\n" || errs.String() != "err\n" {
		t.Errorf("%v, %q, %q", err, out.String(), errs.String())
	}
	e := w.ended()
	if e.err != nil || e.out.End != "" || e.out.Login != w.sshd.Login || !slices.Equal(e.out.Commands, []string{"echo out; echo err >&2; exit 7"}) {
		t.Errorf("it ended so: %+v", e)
	}
	tape := w.tape(e.out.Recording)
	if got := replayed(t, tape, recording.Options{}); got != "out\nerr\n" && got != "err\nout\n" {
		t.Errorf("replayed: %q", got)
	}
	if m := data(t, tape, recording.Marker); !strings.Contains(m, "command: echo out; echo err >&2; exit 7\n") || !strings.Contains(tape, `"title":"alice of ot as root at ot/plant-7/press-4-ssh"`) && w.sshd.Login == "root" {
		t.Errorf("markers:\n%s\n%s", m, tape)
	}
	if !strings.Contains(w.sshd.Log(), "ID alice of ot grant 3f2a session 00000000000000000000000010000001") {
		t.Error("the machine's log does not name the person")
	}
}

func TestACertificateForRecordedTargetsIsGoodHereAlone(t *testing.T) {
	w := newWorld(t)
	c := w.pass()
	c.Recorded = true
	if out, err := sshdtest.Try(t, "ssh", append(w.options(w.ca, c), w.where(), "echo in")...); err != nil || !strings.Contains(out, "in\n") {
		t.Errorf("%v\n%s", err, out)
	}
	w.ended()
	line, err := w.ca.User(w.key, c)
	must(t, err)
	past := sshdtest.Options(w.sshd.Address, w.sshd.Write(t, "past_hosts", "* "+w.sshd.HostKey+"\n"), w.id, w.sshd.Write(t, "past-cert.pub", line+"\n"))
	if out, err := sshdtest.Try(t, "ssh", append(past, w.where(), "echo in")...); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("past the recording: %v\n%s", err, out)
	}
}

func TestAllOfALongCommandIsRecorded(t *testing.T) {
	w := newWorld(t)
	long := ": " + strings.Repeat("x", 3000) + "; echo 'the end\t\x1b[8m'"
	if out, err := w.run("ssh", w.where(), long); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tape := w.tape(w.ended().out.Recording)
	marks := data(t, tape, recording.Marker)
	if n := strings.Count(marks, "x"); n < 3000 || !strings.Contains(marks, `echo 'the end\t\x1b[8m'`) || !strings.Contains(marks, "part 16 of the command: ") {
		t.Errorf("%d of it stand in the markers:\n%s", n, marks)
	}
}

func TestATerminalIsRecordedAsItWasShown(t *testing.T) {
	w := newWorld(t, func(w *world) { w.sshd = sshdtest.Start(t, []string{w.ca.Public()}, "AcceptEnv *") })
	client := w.client(w.pass())
	s, err := client.NewSession()
	must(t, err)
	var out bytes.Buffer
	s.Stdout = &out
	in, err := s.StdinPipe()
	must(t, err)
	must(t, s.Setenv("LC_TIME", "sl_SI"))
	if err := s.Setenv("LD_PRELOAD", "/tmp/x.so"); err == nil {
		t.Error("a variable that decides what is run was taken")
	}
	must(t, s.RequestPty("xterm", 30, 100, ssh.TerminalModes{ssh.ECHO: 1}), s.Shell(), s.WindowChange(40, 120))
	_, err = io.WriteString(in, "stty size; echo $LC_TIME; printf '\\033]0;owned\\007\\033[31mred\\033[0m\\n'; exit 3\n")
	must(t, err)
	if e, ok := errors.AsType[*ssh.ExitError](s.Wait()); !ok || e.ExitStatus() != 3 {
		t.Errorf("the shell ended with %v", e)
	}
	client.Close()
	e := w.ended()
	tape := w.tape(e.out.Recording)
	if e.out.End != "" || !strings.Contains(out.String(), "40 120\r\nsl_SI\r\n") || !strings.Contains(out.String(), "\x1b[31mred") {
		t.Errorf("%+v\n%s", e, out.String())
	}
	if got := data(t, tape, recording.Shown); got != out.String() {
		t.Errorf("recorded %q, shown %q", got, out.String())
	}
	if got := data(t, tape, recording.Typed); !strings.HasPrefix(got, "stty size; echo") {
		t.Errorf("typed %q", got)
	}
	if got := data(t, tape, recording.Resized); got != "120x40\n" || !strings.Contains(tape, `"width":100,"height":30`) || !strings.Contains(tape, `"TERM":"xterm"`) {
		t.Errorf("sizes %q in\n%.200s", got, tape)
	}
	var filtered bytes.Buffer
	f := recording.NewFilter(&filtered)
	_, _ = f.Write(out.Bytes())
	must(t, f.Reset())
	if got := replayed(t, tape, recording.Options{}); got != filtered.String() || strings.Contains(got, "owned\x07") {
		t.Errorf("replayed %q, shown %q", got, filtered.String())
	}
}

func TestTheRealSSHWithATerminal(t *testing.T) {
	w := newWorld(t)
	out, err := w.run("ssh", "-tt", w.where(), "tty >/dev/null && printf 'one\\ntwo\\n'")
	if err != nil || !strings.HasPrefix(out, "one\r\ntwo\r\n") {
		t.Errorf("%v: %q", err, out)
	}
	if got := replayed(t, w.tape(w.ended().out.Recording), recording.Options{}); got != "one\r\ntwo\r\n" {
		t.Errorf("replayed: %q", got)
	}
}

func TestTypingIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		name    string
		noInput bool
		modes   ssh.TerminalModes
		want    bool
	}{
		{"not", false, ssh.TerminalModes{ssh.ECHO: 1, ssh.ICANON: 1}, true},
		{"by the settings", true, ssh.TerminalModes{ssh.ECHO: 1}, false},
		{"without echo", false, ssh.TerminalModes{ssh.ICANON: 1, ssh.ECHO: 0}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.cfg.NoInput = c.noInput })
			client := w.client(w.pass())
			s, err := client.NewSession()
			must(t, err)
			s.Stdin = strings.NewReader("secret\n")
			must(t, s.RequestPty("xterm", 30, 100, c.modes))
			_, err = s.Output("read x; test \"$x\" = secret && printf done")
			must(t, err)
			client.Close()
			if got := data(t, w.tape(w.ended().out.Recording), recording.Typed); strings.Contains(got, "secret") != c.want {
				t.Errorf("typed: %q", got)
			}
		})
	}
}

func randomFile(t testing.TB, size int) (path string, sum string) {
	t.Helper()
	b := make([]byte, size)
	_, _ = rand.Read(b)
	path = filepath.Join(t.TempDir(), "big file.bin")
	must(t, os.WriteFile(path, b, 0o600))
	return path, sumOf(b)
}

func sumOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func sumOfFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return sumOf(b)
}

func TestFilesOfTheRealSCP(t *testing.T) {
	const size = 10 << 20
	local, sum := randomFile(t, size)
	for _, c := range []struct{ name, option string }{{"sftp", "-s"}, {"rcp", "-O"}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			there, back := filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "back")
			if out, err := w.run("scp", "-q", c.option, local, w.where()+":"+there); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			up := w.ended()
			if out, err := w.run("scp", "-q", c.option, w.where()+":"+there, back); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			down := w.ended()
			if sumOfFile(t, there) != sum || sumOfFile(t, back) != sum {
				t.Error("the files are not equal")
			}
			upName, downName := there, there
			if c.name == "rcp" {
				upName, downName = "big file.bin", "there"
			}
			if want := []session.File{{Name: upName, Upload: true, Size: size, SHA256: sum}}; !slices.Equal(up.out.Files, want) {
				t.Errorf("uploaded %+v, wanted %+v", up.out.Files, want)
			}
			if want := []session.File{{Name: downName, Size: size, SHA256: sum}}; !slices.Equal(down.out.Files, want) {
				t.Errorf("downloaded %+v, wanted %+v", down.out.Files, want)
			}
			if m := data(t, w.tape(up.out.Recording), recording.Marker); !strings.Contains(m, "upload: 10485760 bytes, sha256 "+sum+": "+upName+"\n") {
				t.Errorf("markers:\n%s", m)
			}
			if shown := data(t, w.tape(down.out.Recording), recording.Shown); shown != "" {
				t.Errorf("content is in the recording: %.100q", shown)
			}
		})
	}
}

func TestFoldersOfTheRealSCP(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700), os.WriteFile(filepath.Join(dir, "a", "one"), []byte("1"), 0o600),
		os.WriteFile(filepath.Join(dir, "a", "b", "empty"), nil, 0o600), os.WriteFile(filepath.Join(dir, "a", "zwei\x1b[31m"), []byte("22"), 0o600))
	for _, option := range []string{"-s", "-O"} {
		w := newWorld(t)
		if out, err := w.run("scp", "-q", "-p", "-r", option, filepath.Join(dir, "a"), w.where()+":"+t.TempDir()+"/"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		e := w.ended()
		var got []string
		for _, f := range e.out.Files {
			got = append(got, fmt.Sprintf("%s %d %v", f.Name[strings.LastIndex(f.Name, "a/"):], f.Size, f.SHA256 != ""))
		}
		slices.Sort(got)
		if want := []string{`a/b/empty 0 true`, `a/one 1 true`, `a/zwei\x1b[31m" 2 true`}; !slices.Equal(got, want) {
			t.Errorf("%s: %q", option, got)
		}
	}
}

func TestTheRealSFTP(t *testing.T) {
	w := newWorld(t)
	local, sum := randomFile(t, 300_000)
	dir := t.TempDir()
	batch := w.sshd.Write(t, "batch", fmt.Sprintf("mkdir %[1]s/d\nput \"%[2]s\" %[1]s/d/x\nrename %[1]s/d/x %[1]s/d/y\nget %[1]s/d/y %[1]s/back\nrm %[1]s/d/y\nrmdir %[1]s/d\nls %[1]s\n", dir, local))
	if out, err := w.run("sftp", "-q", "-b", batch, w.where()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	e := w.ended()
	want := []session.File{{Name: dir + "/d/x", Upload: true, Size: 300_000, SHA256: sum}, {Name: dir + "/d/y", Size: 300_000, SHA256: sum}}
	if !slices.Equal(e.out.Files, want) || sumOfFile(t, dir+"/back") != sum {
		t.Errorf("carried %+v", e.out.Files)
	}
	m := data(t, w.tape(e.out.Recording), recording.Marker)
	for _, want := range []string{"made the folder " + dir + "/d\n", "renamed " + dir + "/d/x to " + dir + "/d/y\n", "removed " + dir + "/d/y\n", "removed the folder " + dir + "/d\n"} {
		if !strings.Contains(m, want) {
			t.Errorf("no marker %q in\n%s", want, m)
		}
	}
}

func TestSFTPThatCannotBeFollowedIsEnded(t *testing.T) {
	w := newWorld(t)
	client := w.client(w.pass())
	c, reqs, err := client.OpenChannel("session", nil)
	must(t, err)
	go ssh.DiscardRequests(reqs)
	ok, err := c.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	must(t, err)
	_, err = c.Write([]byte{0, 0, 0, 0, 3})
	must(t, err)
	words, err := io.ReadAll(c.Stderr())
	must(t, err)
	client.Close()
	e := w.ended()
	if !ok || e.err != nil || !strings.Contains(string(words), "cannot be followed") || !strings.Contains(data(t, w.tape(e.out.Recording), recording.Marker), "ended: ") {
		t.Errorf("%v, %+v\n%s", ok, e, words)
	}
}

func TestTenChannelsOfOneConnection(t *testing.T) {
	w := newWorld(t)
	socket := filepath.Join(t.TempDir(), "s")
	master := exec.Command("ssh", append(w.options(w.ca, w.pass()), "-M", "-S", socket, w.where(), "echo ready; cat")...)
	in, err := master.StdinPipe()
	must(t, err)
	out, err := master.StdoutPipe()
	must(t, err)
	must(t, master.Start())
	ready := make([]byte, 6)
	_, err = io.ReadFull(out, ready)
	must(t, err)
	var wg sync.WaitGroup
	for i := range 9 {
		wg.Go(func() {
			c := exec.Command("ssh", "-F", "none", "-S", socket, w.where(), fmt.Sprintf("cat; exit %d", i))
			text := strings.Repeat(fmt.Sprintf("%d", i), 100_000)
			c.Stdin = strings.NewReader(text)
			got, err := c.Output()
			code := 0
			if e, ok := errors.AsType[*exec.ExitError](err); ok {
				code = e.ExitCode()
			}
			if string(got) != text || code != i {
				t.Errorf("channel %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	wg.Wait()
	must(t, in.Close(), master.Wait())
	e := w.ended()
	if e.err != nil || len(e.out.Commands) != 10 || len(w.ends) != 0 {
		t.Errorf("%+v", e)
	}
}

// A channel that nobody reads is full after a while: the machine waits, other channels go on, and nothing is lost.
func TestWhatIsNotReadWaitsAtTheMachine(t *testing.T) {
	const size = 32 << 20
	w := newWorld(t)
	client := w.client(w.pass())
	s, err := client.NewSession()
	must(t, err)
	out, err := s.StdoutPipe()
	must(t, err)
	must(t, s.Start(fmt.Sprintf("head -c %d /dev/zero", size)))
	for range 20 {
		other, err := client.NewSession()
		must(t, err)
		if b, err := other.Output("echo in"); string(b) != "in\n" || err != nil {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if n := w.received.Load(); n > 8<<20 {
		t.Errorf("%d bytes were taken that nobody reads", n)
	}
	if n, err := io.Copy(io.Discard, out); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	must(t, s.Wait())
	client.Close()
	w.ended()
}

// Whoever closes a channel behind what he sent is heard to the end.
func TestTheLastWordsArrive(t *testing.T) {
	w := newWorld(t)
	words := strings.Repeat("0123456789", 100_000)
	client := w.client(w.pass())
	for range 5 {
		fifo := filepath.Join(t.TempDir(), "fifo")
		sshdtest.Run(t, "mkfifo", fifo)
		c, reqs, err := client.OpenChannel("session", nil)
		must(t, err)
		go ssh.DiscardRequests(reqs)
		ok, err := c.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"cat >" + fifo}))
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		_, err = io.WriteString(c, words)
		must(t, err, c.Close())
		got, err := os.ReadFile(fifo)
		if string(got) != words || err != nil {
			t.Fatalf("%d bytes of %d, %v", len(got), len(words), err)
		}
	}
	client.Close()
	w.ended()
}

// What is read by a command is passed on whole, also when it is more than is recorded.
func TestPipesThroughACommand(t *testing.T) {
	w := newWorld(t)
	local, sum := randomFile(t, 2<<20)
	f, err := os.Open(local)
	must(t, err)
	defer f.Close()
	c := exec.Command("ssh", append(w.options(w.ca, w.pass()), w.where(), "cat")...)
	c.Stdin = f
	got, err := c.Output()
	if err != nil || sumOf(got) != sum {
		t.Errorf("%v, %d bytes", err, len(got))
	}
	tape := w.tape(w.ended().out.Recording)
	if m := data(t, tape, recording.Marker); !strings.Contains(m, "not recorded of the last command: 1835008 bytes written, 1835008 bytes read\n") {
		t.Errorf("markers:\n%s", m)
	}
	if len(tape) > 8<<20 {
		t.Errorf("the recording has %d bytes", len(tape))
	}
}

func TestWhoIsRefused(t *testing.T) {
	other := authority(t)
	w := newWorld(t, func(w *world) { w.session.Target.Record.Logins = []string{w.sshd.Login, "service"} })
	now := time.Now()
	for _, c := range []struct {
		name string
		by   *sshca.Authority
		with func(*sshca.UserCertificate)
		as   string
		want string
	}{
		{"another authority's", other, func(*sshca.UserCertificate) {}, w.sshd.Login, "not from the tenant's SSH authority"},
		{"lapsed", w.ca, func(c *sshca.UserCertificate) { c.From, c.Until = now.Add(-time.Hour), now.Add(-time.Second) }, w.sshd.Login, "ended at"},
		{"not yet valid", w.ca, func(c *sshca.UserCertificate) { c.From = now.Add(time.Minute * 30) }, w.sshd.Login, "not valid yet"},
		{"for another login", w.ca, func(c *sshca.UserCertificate) { c.Principals = []string{"service"} }, w.sshd.Login, "not for the account"},
		{"for a login that the target has not", w.ca, func(c *sshca.UserCertificate) { c.Principals = []string{"daemon"} }, "daemon", "do not log in to this target"},
		{"another person's", w.ca, func(c *sshca.UserCertificate) { c.ID = "mallory of ot grant 3f2a" }, w.sshd.Login, "another person's"},
		{"for another grant", w.ca, func(c *sshca.UserCertificate) { c.ID = "alice of ot grant 3f2ab" }, w.sshd.Login, "another person's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := w.pass()
			c.with(&said)
			out, err := sshdtest.Try(t, "ssh", append(w.options(c.by, said), c.as+"@127.0.0.1", "true")...)
			e := w.ended()
			if err == nil || !strings.Contains(out, c.want) || !strings.Contains(out, "Permission denied") {
				t.Errorf("%v\n%s", err, out)
			}
			if e.out.End != session.BadLogin || !strings.Contains(e.out.Words, c.want) || fault.KindOf(e.err) != fault.Denied || e.out.Recording != "" {
				t.Errorf("it ended so: %+v", e)
			}
		})
	}
	plain := []string{"-o", "CertificateFile=none"}
	for _, c := range []struct {
		name      string
		arguments []string
	}{
		{"a plain key", plain},
		{"a password", append(plain, "-o", "PreferredAuthentications=password,keyboard-interactive", "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1")},
		{"nothing", append(plain, "-o", "PreferredAuthentications=none")},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := sshdtest.Try(t, "ssh", append(append(c.arguments, w.options(w.ca, w.pass())...), w.where(), "true")...)
			if c.name == "a plain key" { // the first CertificateFile does not keep ssh from reading the second
				id, _ := sshdtest.Key(t)
				known := w.sshd.Write(t, "known_hosts", "@cert-authority * "+w.hosts.Public()+"\n")
				<-w.ends
				out, err = sshdtest.Try(t, "ssh", append(sshdtest.Options(w.address, known, id, "none"), "-o", "HostKeyAlias=press-4", w.where(), "true")...)
			}
			e := w.ended()
			if err == nil || !strings.Contains(out, "Permission denied (publickey)") || e.out.End != session.BadLogin {
				t.Errorf("%v, %+v\n%s", err, e, out)
			}
		})
	}
	if strings.Contains(w.sshd.Log(), "Accepted") && !strings.Contains(w.sshd.Log(), "ID alice of ot grant 3f2a session") {
		t.Error("somebody was let in")
	}
}

func TestThePersonIsToldWhatIsWrong(t *testing.T) {
	full := fault.New("test", fault.Exhausted, "the disk is full")
	otherKey := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJjzc2a20RjCvN/0ibH6UpGuN9F9hDvD7x182bOesNhH"
	for _, c := range []struct {
		name   string
		change func(*world)
		want   string
		end    session.End
	}{
		{"no recordings", func(w *world) { w.journal.none = full }, "the disk is full", session.NotRecordable},
		{"nowhere to record", func(w *world) { w.cfg.Journal = nil }, "keeps no recordings", session.NotRecordable},
		{"not even the first byte", func(w *world) { w.journal.room = 3 }, "has to be recorded", session.NotRecordable},
		{"no key to record for", func(w *world) { w.session.Target.Record.Recipients = nil }, "0 recipients", session.NotRecordable},
		{"no control plane", func(w *world) { w.away = errAway }, "the control plane cannot be reached", session.Unreachable},
		{"nobody to ask", func(w *world) { w.cfg.Certify = nil }, "nobody to certify", session.Unreachable},
		{"another machine", func(w *world) { w.session.Target.Record.HostKeys = []string{otherKey} }, "another host key", session.Unreachable},
		{"no readable host key", func(w *world) { w.session.Target.Record.HostKeys = []string{"x"} }, "can be read", session.Unreachable},
		{"a machine that trusts another authority", func(w *world) { w.sshd = sshdtest.Start(w.t, []string{w.hosts.Public()}) }, "did not let", session.RejectedThere},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.change)
			out, err := sshdtest.Try(t, "ssh", append(w.options(w.ca, w.pass()), "-o", "StrictHostKeyChecking=no", w.where(), "true")...)
			e := w.ended()
			if w.away != nil { // then there is no host certificate either, which must not hide the reason
				known := w.sshd.Write(t, "none", "")
				out, err = sshdtest.Try(t, "ssh", append([]string{"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + known}, append(w.options(w.ca, w.pass()), w.where(), "true")...)...)
				e = w.ended()
			}
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%v\n%s", err, out)
			}
			if e.out.End != c.end || e.err == nil || !strings.Contains(e.out.Words, c.want) {
				t.Errorf("it ended so: %+v", e)
			}
		})
	}
}

func TestTheMachinesKeyIsRemembered(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		if out, err := w.run("ssh", w.where(), "true"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		w.ended()
	}
	path := filepath.Join(w.dir, "known_hosts.json")
	b, err := os.ReadFile(path)
	must(t, err)
	if !strings.Contains(string(b), strings.Fields(w.sshd.HostKey)[1]) {
		t.Errorf("remembered:\n%s", b)
	}
	for _, name := range []string{"known_hosts.json", "host_key", "host_certificates.json"} {
		if fi, err := os.Stat(filepath.Join(w.dir, name)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	// Another machine at the same address, and another process on the same disk.
	address := w.session.Target.Address
	w.set(func() { w.sshd = sshdtest.Start(t, []string{w.ca.Public()}) })
	w.serve(sshproxy.New(w.cfg, discard, clock.System{}))
	out, err := w.run("ssh", w.where(), "true")
	if e := w.ended(); err == nil || e.out.End != session.Unreachable || !strings.Contains(out, "shows another host key than it should") {
		t.Errorf("%v, %+v\n%s", err, e, out)
	}
	// The target leads elsewhere: another machine.
	w.set(func() { w.session.Target.Address = "elsewhere:22" })
	if out, err := w.run("ssh", w.where(), "true"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	w.ended()
	// The owner says which key is right.
	w.set(func() {
		w.session.Target.Address = address
		w.session.Target.Record.HostKeys = []string{w.sshd.HostKey}
	})
	if out, err := w.run("ssh", w.where(), "true"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	w.ended()
	// What cannot be read is not the same as nothing.
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	w.set(func() { w.session.Target.Record.HostKeys = nil })
	w.serve(sshproxy.New(w.cfg, discard, clock.System{}))
	if out, err := w.run("ssh", w.where(), "true"); err == nil || !strings.Contains(out, "cannot be read") {
		t.Errorf("%v\n%s", err, out)
	}
	w.ended()
}

func TestSessionsBeginWhileTheControlPlaneIsAway(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		if out, err := w.run("ssh", w.where(), "true"); err != nil {
			t.Fatalf("session %d: %v\n%s", i, err, out)
		}
		w.ended()
		w.set(func() { w.away = errAway })
	}
	if w.asked != 1 {
		t.Errorf("asked %d times", w.asked)
	}
}

func TestForwarding(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer echo.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer echo.Close()
	wg.Go(func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); _, _ = io.Copy(c, c) })
		}
	})
	target := echo.Addr().String()
	for _, c := range []struct {
		name    string
		allowed bool
		cert    bool
		to      func(w *world) string
		want    string // words; empty: it works
	}{
		{"allowed", true, true, func(*world) string { return target }, ""},
		{"not by the target", false, true, func(*world) string { return target }, "nothing is forwarded at this target"},
		{"not by the certificate", true, false, func(*world) string { return target }, "nothing is forwarded at this target"},
		{"another machine", true, true, func(*world) string { return "192.0.2.1:80" }, "only ports of the machine itself"},
		{"by a trick of names", true, true, func(*world) string { return "127.0.0.1.example.com:80" }, "only ports of the machine itself"},
		{"beside the recording", true, true, func(w *world) string { return w.sshd.Address.String() }, "the target itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.session.Target.Record.Forwarding = c.allowed })
			pass := w.pass()
			pass.Forwarding = c.cert
			client := w.client(pass)
			conn, err := client.Dial("tcp", c.to(w))
			if c.want == "" {
				must(t, err)
				_, err = io.WriteString(conn, "hello")
				must(t, err, conn.(interface{ CloseWrite() error }).CloseWrite())
				if b, err := io.ReadAll(conn); string(b) != "hello" {
					t.Errorf("%q, %v", b, err)
				}
				conn.Close()
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("dialled: %v", err)
			}
			client.Close()
			m := data(t, w.tape(w.ended().out.Recording), recording.Marker)
			if want := map[bool]string{true: "forwarded to " + target + ": 5 bytes sent, 5 bytes received", false: "refused: " + c.want}[c.want == ""]; !strings.Contains(m, want) {
				t.Errorf("markers:\n%s", m)
			}
		})
	}
}

func TestOtherWaysAreRefused(t *testing.T) {
	w := newWorld(t, func(w *world) { w.session.Target.Record.Forwarding = true })
	pass := w.pass()
	pass.PTY = false
	client := w.client(pass)
	for _, kind := range []string{"x11", "auth-agent@openssh.com", "direct-streamlocal@openssh.com", "tun@openssh.com", "forwarded-tcpip"} {
		if _, _, err := client.OpenChannel(kind, nil); err == nil {
			t.Errorf("%s was opened", kind)
		}
	}
	for _, kind := range []string{"tcpip-forward", "streamlocal-forward@openssh.com"} {
		if ok, _, err := client.SendRequest(kind, true, ssh.Marshal(struct {
			Host string
			Port uint32
		}{"127.0.0.1", 0})); ok || err != nil {
			t.Errorf("%s: %v, %v", kind, ok, err)
		}
	}
	if ok, _, err := client.SendRequest("keepalive@openssh.com", true, nil); ok || err != nil { // any answer pleases it
		t.Errorf("%v, %v", ok, err)
	}
	s, err := client.NewSession()
	must(t, err)
	for _, kind := range []string{"x11-req", "auth-agent-req@openssh.com", "subsystem", "pty-req", "window-change", "signal", "break", "something"} {
		if ok, err := s.SendRequest(kind, true, ssh.Marshal(struct{ Name string }{"netconf"})); ok || err != nil {
			t.Errorf("%s: %v, %v", kind, ok, err)
		}
	}
	if err := s.RequestPty("xterm", 1, 1, nil); err == nil {
		t.Error("a terminal was given to a certificate that may have none")
	}
	in, err := s.StdinPipe()
	must(t, err)
	must(t, s.Start("cat; kill -TERM $$"))
	if ok, err := s.SendRequest("exec", true, ssh.Marshal(struct{ Name string }{"id"})); ok || err != nil {
		t.Errorf("a second command: %v, %v", ok, err)
	}
	must(t, s.Signal(ssh.SIGUSR1), in.Close())
	if e, ok := errors.AsType[*ssh.ExitError](s.Wait()); !ok || e.Signal() != "TERM" {
		t.Errorf("killed, it ended with %v", e)
	}
	client.Close()
	w.ended()
	if w.sshd.Login == "root" && !strings.Contains(w.sshd.Log(), "session_signal_req") { // sshd does not do it for root, and says so
		t.Error("the signal did not come to sshd")
	}
}

func TestChannelsAreBounded(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.MaxChannels = 2 })
	client := w.client(w.pass())
	for range 2 {
		_, err := client.NewSession()
		must(t, err)
	}
	if _, err := client.NewSession(); err == nil || !strings.Contains(err.Error(), "too many channels") {
		t.Errorf("the third: %v", err)
	}
	client.Close()
	w.ended()
}

func TestAFullDiskEndsTheSession(t *testing.T) {
	w := newWorld(t, func(w *world) { w.journal.room = 2000 })
	client := w.client(w.pass())
	s, err := client.NewSession()
	must(t, err)
	must(t, s.RequestPty("xterm", 30, 100, ssh.TerminalModes{}))
	in, err := s.StdinPipe()
	must(t, err)
	must(t, s.Shell())
	_, err = io.WriteString(in, "yes\n")
	must(t, err)
	_ = s.Wait() // the connection is cut
	e := w.ended()
	if e.out.End != session.NotRecordable || fault.KindOf(e.err) != fault.Unavailable || !strings.Contains(e.out.Words, "could not be written") {
		t.Errorf("it ended so: %+v", e)
	}
}

func TestALostEndIsTold(t *testing.T) {
	w := newWorld(t)
	start := func() (*ssh.Client, *ssh.Session) {
		client := w.client(w.pass())
		s, err := client.NewSession()
		must(t, err)
		must(t, s.Start("sleep 1000"))
		return client, s
	}
	client, _ := start()
	client.Close() // without a word
	if e := w.ended(); e.out.End != session.EndBroken || e.err != nil {
		t.Errorf("the person's end was lost: %+v", e)
	}
	client, s := start()
	shell, err := client.NewSession()
	must(t, err)
	if err := shell.Run("kill $PPID"); err == nil {
		t.Error("sshd survived")
	}
	if err := s.Wait(); err == nil {
		t.Error("it went on")
	}
	if e := w.ended(); e.out.End != session.EndBroken || !strings.Contains(e.out.Words, "sshd ended") {
		t.Errorf("the machine's end was lost: %+v", e)
	}
}
