package sshca_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/access/sshca/sshdtest"
	"github.com/isthmus-io/isthmus/fault"
)

var (
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	one  = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
)

func authority(t testing.TB) *sshca.Authority {
	t.Helper()
	public, private, err := sshca.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	a, err := sshca.Load(private)
	if err != nil {
		t.Fatal(err)
	}
	if a.Public() != public || strings.ContainsAny(public, "\n") || len(strings.Fields(public)) != 2 {
		t.Fatalf("the key reads %q, the loaded one %q", public, a.Public())
	}
	return a
}

func somebody(t testing.TB) ssh.PublicKey {
	t.Helper()
	public, _, err := sshca.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := sshca.ParseKey(public + " alice@laptop")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAUserCertificateSaysWhatWasAsked(t *testing.T) {
	a := authority(t)
	base := sshca.UserCertificate{ID: "alice of ot grant 3f", Principals: []string{"service", "root"}, From: noon, Until: one, Serial: 42}
	for _, c := range []struct {
		name       string
		with       func(*sshca.UserCertificate)
		extensions string
	}{
		{"nothing", func(*sshca.UserCertificate) {}, ""},
		{"a terminal", func(c *sshca.UserCertificate) { c.PTY = true }, "permit-pty"},
		{"its rc", func(c *sshca.UserCertificate) { c.UserRC = true }, "permit-user-rc"},
		{"forwarding", func(c *sshca.UserCertificate) { c.Forwarding = true }, "permit-agent-forwarding permit-port-forwarding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := base
			c.with(&want)
			line, err := a.User(somebody(t), want)
			if err != nil {
				t.Fatal(err)
			}
			k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			got := k.(*ssh.Certificate)
			if got.KeyId != base.ID || got.Serial != 42 || got.CertType != ssh.UserCert || strings.Join(got.ValidPrincipals, " ") != "service root" {
				t.Errorf("the certificate says %+v", got)
			}
			if got.ValidAfter != uint64(noon.Add(-2*time.Minute).Unix()) || got.ValidBefore != uint64(one.Unix()) {
				t.Errorf("valid from %d until %d", got.ValidAfter, got.ValidBefore)
			}
			if len(got.CriticalOptions) > 0 || len(got.Extensions) != len(strings.Fields(c.extensions)) {
				t.Errorf("it allows %v", got.Extensions)
			}
			for _, e := range strings.Fields(c.extensions) {
				if _, ok := got.Extensions[e]; !ok {
					t.Errorf("it does not allow %s", e)
				}
			}
		})
	}
}

func TestWhatIsNotCertified(t *testing.T) {
	a := authority(t)
	good := sshca.UserCertificate{ID: "alice", Principals: []string{"service"}, From: noon, Until: one}
	for _, c := range []struct {
		name string
		with func(*sshca.UserCertificate)
		want string
	}{
		{"no principal", func(c *sshca.UserCertificate) { c.Principals = nil }, "names 0 principals"},
		{"an empty principal", func(c *sshca.UserCertificate) { c.Principals = []string{""} }, `"" cannot be a principal`},
		{"two in one", func(c *sshca.UserCertificate) { c.Principals = []string{"service,root"} }, "cannot be a principal"},
		{"a control character", func(c *sshca.UserCertificate) { c.Principals = []string{"ser\nvice"} }, "cannot be a principal"},
		{"too many", func(c *sshca.UserCertificate) { c.Principals = strings.Fields(strings.Repeat("a ", 65)) }, "names 65 principals"},
		{"no id", func(c *sshca.UserCertificate) { c.ID = "" }, "cannot be a certificate's id"},
		{"an id for the terminal", func(c *sshca.UserCertificate) { c.ID = "alice\x1b]0;x\a" }, "cannot be a certificate's id"},
		{"an id without end", func(c *sshca.UserCertificate) { c.ID = strings.Repeat("a", 513) }, "cannot be a certificate's id"},
		{"no time", func(c *sshca.UserCertificate) { c.Until = c.From }, "end before it begins"},
		{"no beginning", func(c *sshca.UserCertificate) { c.From = time.Time{} }, "end before it begins"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := good
			c.with(&bad)
			line, err := a.User(somebody(t), bad)
			if line != "" || fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), c.want) {
				t.Errorf("got %q, %v", line, err)
			}
		})
	}
	if _, err := a.User(somebody(t), good); err != nil {
		t.Error(err)
	}
	if _, err := a.Host(somebody(t), nil, noon, one); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a host without a name: %v", err)
	}
}

func TestKeysThatAreTaken(t *testing.T) {
	for _, c := range []struct{ name, arguments, refused string }{
		{"ed25519", "-t ed25519", ""},
		{"ecdsa 256", "-t ecdsa -b 256", ""},
		{"ecdsa 521", "-t ecdsa -b 521", ""},
		{"rsa 2048", "-t rsa -b 2048", ""},
		{"rsa 1024", "-t rsa -b 1024", "has 1024 bits"},
		{"dsa", "-t dsa", "DSA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, key := sshdtest.Key(t, strings.Fields(c.arguments)...)
			parsed, err := sshca.ParseKey(sshca.Line(key) + " with a comment")
			line, err2 := authority(t).User(key, sshca.UserCertificate{ID: "alice", Principals: []string{"service"}, From: noon, Until: one})
			if c.refused == "" {
				if err != nil || err2 != nil || sshca.Line(parsed) != sshca.Line(key) || line == "" {
					t.Errorf("refused: %v, %v", err, err2)
				}
				return
			}
			for _, err := range []error{err, err2} {
				if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), c.refused) || fault.Next(err) == "" {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestParseKey(t *testing.T) {
	a := authority(t)
	key := somebody(t)
	line, err := a.User(key, sshca.UserCertificate{ID: "alice", Principals: []string{"service"}, From: noon, Until: one})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sshca.ParseKey(line); err != nil || sshca.Line(got) != sshca.Line(key) {
		t.Errorf("of a certificate: %v, %v", got, err)
	}
	const securityKey = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIJjzc2a20RjCvN/0ibH6UpGuN9F9hDvD7x182bOesNhHAAAABHNzaDo="
	if k, err := sshca.ParseKey(securityKey); err != nil || k.Type() != ssh.KeyAlgoSKED25519 {
		t.Errorf("of a security key: %v", err)
	}
	for _, c := range []struct{ name, line string }{
		{"nothing", ""},
		{"words", "please let me in"},
		{"options", `command="sh" ` + sshca.Line(key)},
		{"two", sshca.Line(key) + "\n" + sshca.Line(key)},
		{"without end", sshca.Line(key) + strings.Repeat(" ", 20000)},
		{"half", sshca.Line(key)[:40]},
	} {
		if _, err := sshca.ParseKey(c.line); fault.Message(err) == "" || fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.TooLarge {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLoadTellsNothingOfASecret(t *testing.T) {
	_, private, err := sshca.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(private), "b3BlbnNz", "b3BlbnNy", 1)
	for _, text := range []string{"", "x", broken} {
		_, err := sshca.Load([]byte(text))
		if fault.KindOf(err) != fault.Invalid || len(text) > 20 && strings.Contains(err.Error(), text[40:60]) {
			t.Errorf("%v", err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	public, _, err := sshca.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(public)
	f.Add("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== x")
	f.Add("a,b=\"c\" " + public)
	f.Fuzz(func(t *testing.T, line string) {
		k, err := sshca.ParseKey(line)
		if err != nil {
			return
		}
		if again, err := sshca.ParseKey(sshca.Line(k)); err != nil || sshca.Line(again) != sshca.Line(k) {
			t.Errorf("%q is not read again: %v", sshca.Line(k), err)
		}
	})
}
