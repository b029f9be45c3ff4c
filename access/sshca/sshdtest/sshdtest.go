package sshdtest

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

const daemon = "/usr/sbin/sshd"

// Server is an sshd on a loopback port.
type Server struct {
	Address *net.TCPAddr
	HostKey string // public key as a line of an authorized_keys file
	Login   string // the account that certificates and keys may log in to
	Dir     string // of its configuration
	config  string
	log     lockedBuffer
}

// Start runs an sshd that trusts the authorities given (lines of TrustedUserCAKeys) and takes further lines of sshd_config.
func Start(t testing.TB, authorities []string, more ...string) *Server {
	t.Helper()
	if _, err := os.Stat(daemon); err != nil || runtime.GOOS != "linux" {
		t.Skip("no sshd on this machine")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Login: me.Username, Dir: t.TempDir()}
	if me.Uid == "0" {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it separates privileges
			t.Fatal(err)
		}
	}
	key := filepath.Join(s.Dir, "host")
	Run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
	s.HostKey = strings.TrimSpace(string(read(t, key+".pub")))
	cas := s.Write(t, "authorities", strings.Join(authorities, "\n")+"\n")
	s.config = s.Write(t, "sshd_config", strings.Join(append(more,
		"HostKey "+key, "TrustedUserCAKeys "+cas, "AuthorizedKeysFile none", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"PermitRootLogin prohibit-password", "StrictModes no", "UsePAM no", "LogLevel VERBOSE", "PrintMotd no", "PrintLastLog no",
		"Subsystem sftp internal-sftp", "PidFile none", "",
	), "\n"))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = l.Addr().(*net.TCPAddr)
	var wg sync.WaitGroup
	wg.Go(func() { s.accept(t, l, &wg) })
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
		if t.Failed() {
			t.Logf("sshd said:\n%s", s.Log())
		}
	})
	return s
}

func (s *Server) accept(t testing.TB, l net.Listener, wg *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		f, err := c.(*net.TCPConn).File()
		c.Close()
		if err != nil {
			t.Error(err)
			return
		}
		sshd := exec.Command(daemon, "-i", "-e", "-f", s.config)
		sshd.Stdin, sshd.Stdout, sshd.Stderr = f, f, &s.log
		if err := sshd.Start(); err != nil {
			t.Error(err)
		}
		f.Close()
		wg.Go(func() { _ = sshd.Wait() })
	}
}

// Log returns what sshd has said on its standard error.
func (s *Server) Log() string { return s.log.String() }

// Write makes a file beside the server's own, for its owner only, and returns its path.
func (s *Server) Write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Key makes a key of ssh-keygen and returns its path and its public half.
func Key(t testing.TB, arguments ...string) (path string, public ssh.PublicKey) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "id")
	if len(arguments) == 0 {
		arguments = []string{"-t", "ed25519"}
	}
	Run(t, "ssh-keygen", append(arguments, "-q", "-N", "", "-C", "somebody@somewhere", "-f", path)...)
	public, _, _, _, err := ssh.ParseAuthorizedKey(read(t, path+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return path, public
}

// Run runs a program and returns what it printed; when it fails, the test does.
func Run(t testing.TB, program string, arguments ...string) string {
	t.Helper()
	out, err := Try(t, program, arguments...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(arguments, " "), err, out)
	}
	return out
}

// Try runs a program and returns what it printed, standard error among it.
func Try(t testing.TB, program string, arguments ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, arguments...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("%s: %v", program, err)
	}
	return out.String(), err
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lockedBuffer is a buffer that a process writes while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Options are those of ssh and scp for logging in with one key and certificate to one address, without what the account has configured.
func Options(at *net.TCPAddr, knownHosts, identity, certificate string) []string {
	out := []string{"-F", "none", "-o", "Port=" + strconv.Itoa(at.Port)}
	for _, o := range []string{
		"BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=none", "UserKnownHostsFile=" + knownHosts,
		"IdentityFile=" + identity, "CertificateFile=" + certificate, "LogLevel=INFO",
	} {
		out = append(out, "-o", o)
	}
	return out
}
