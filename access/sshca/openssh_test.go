package sshca_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/access/sshca/sshdtest"
)

func TestSSHKeygenReadsIt(t *testing.T) {
	a := authority(t)
	from := noon.In(time.Local) //nolint:gosmopolitan // ssh-keygen prints local time
	user, err := a.User(somebody(t), sshca.UserCertificate{
		ID: "alice of ot grant 3f session 1", Principals: []string{"service"}, From: from, Until: from.Add(time.Hour), Serial: 7, PTY: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	host, err := a.Host(somebody(t), []string{"press-4.plant-7.ot", "127.0.0.1"}, from, from.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, line string
		want       []string
	}{
		{"user", user, []string{
			"ssh-ed25519-cert-v01@openssh.com user certificate", `Key ID: "alice of ot grant 3f session 1"`, "Serial: 7", "service", "permit-pty",
			"Critical Options: (none)", "Valid: from " + from.Add(-sshca.Early).Format("2006-01-02T15:04:05") + " to " + from.Add(time.Hour).Format("2006-01-02T15:04:05"),
		}},
		{"host", host, []string{"ssh-ed25519-cert-v01@openssh.com host certificate", `Key ID: "press-4.plant-7.ot"`, "127.0.0.1", "Extensions: (none)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "id-cert.pub")
			if err := os.WriteFile(path, []byte(c.line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			got := sshdtest.Run(t, "ssh-keygen", "-L", "-f", path)
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("wanted %q in\n%s", w, got)
				}
			}
			if c.name == "user" && (strings.Contains(got, "forwarding") || strings.Contains(got, "user-rc")) {
				t.Errorf("more is allowed than was asked for:\n%s", got)
			}
		})
	}
}

// The real sshd trusts the authority and nothing else; the real ssh trusts its host certificates.
func TestAMachineLooksAtItsOwnTarget(t *testing.T) {
	a := authority(t)
	file := filepath.Join(t.TempDir(), "principals")
	s := sshdtest.Start(t, []string{a.Public()}, "AuthorizedPrincipalsFile "+file)
	if err := os.WriteFile(file, []byte(s.Login+"@press-4-ssh.plant-7.ot.isthmus\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id, key := sshdtest.Key(t)
	known := s.Write(t, "known_hosts", "* "+s.HostKey+"\n")
	for target, in := range map[string]bool{"press-4-ssh": true, "press-5-ssh": false} {
		line, err := a.User(key, sshca.UserCertificate{
			ID: "alice of ot grant 3f", Principals: []string{s.Login, s.Login + "@" + target + ".plant-7.ot.isthmus"}, From: time.Now(), Until: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := sshdtest.Try(t, "ssh", append(sshdtest.Options(s.Address, known, id, s.Write(t, "id-cert.pub", line+"\n")), s.Login+"@127.0.0.1", "echo in")...)
		if (err == nil) != in || in != strings.HasSuffix(out, "in\n") {
			t.Errorf("with a certificate for %s: %v\n%s", target, err, out)
		}
	}
}

func TestStockSSHDLetsPeopleInWithIt(t *testing.T) {
	a, other := authority(t), authority(t)
	s := sshdtest.Start(t, []string{a.Public()})
	id, key := sshdtest.Key(t)
	now := time.Now()
	good := sshca.UserCertificate{ID: "alice of ot grant 3f", Principals: []string{s.Login}, From: now, Until: now.Add(time.Hour)}
	ssh := func(a *sshca.Authority, c sshca.UserCertificate) (string, error) {
		t.Helper()
		line, err := a.User(key, c)
		if err != nil {
			t.Fatal(err)
		}
		known := s.Write(t, "known_hosts", "* "+s.HostKey+"\n")
		return sshdtest.Try(t, "ssh", append(sshdtest.Options(s.Address, known, id, s.Write(t, "id-cert.pub", line+"\n")), s.Login+"@127.0.0.1", "echo in")...)
	}
	for _, c := range []struct {
		name string
		by   *sshca.Authority
		with func(*sshca.UserCertificate)
		in   bool
	}{
		{"good", a, func(*sshca.UserCertificate) {}, true},
		{"begins within the clock's error", a, func(c *sshca.UserCertificate) { c.From = now.Add(time.Minute) }, true},
		{"another authority", other, func(*sshca.UserCertificate) {}, false},
		{"another principal", a, func(c *sshca.UserCertificate) { c.Principals = []string{"somebody-else"} }, false},
		{"after its end", a, func(c *sshca.UserCertificate) { c.From, c.Until = now.Add(-time.Hour), now.Add(-time.Second) }, false},
		{"before its beginning", a, func(c *sshca.UserCertificate) { c.From = now.Add(30 * time.Minute) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := good
			c.with(&said)
			out, err := ssh(c.by, said)
			if in := err == nil && strings.HasSuffix(out, "in\n"); in != c.in {
				t.Errorf("in: %v, %v\n%s", in, err, out)
			}
			if !c.in && !strings.Contains(out, "Permission denied (publickey)") {
				t.Errorf("it was refused for another reason:\n%s", out)
			}
		})
	}
	if !strings.Contains(s.Log(), `ID alice of ot grant 3f (serial 0)`) {
		t.Error("sshd's log does not name the person")
	}
}

func TestStockSSHTrustsAHostCertificate(t *testing.T) {
	users, hosts := authority(t), authority(t)
	id, key := sshdtest.Key(t)
	hostKey, hostPublic := sshdtest.Key(t)
	now := time.Now()
	for _, c := range []struct {
		name, principal string
		until           time.Time
		in              bool
	}{
		{"good", "press-4", now.Add(time.Hour), true},
		{"another's", "press-5", now.Add(time.Hour), false},
		{"lapsed", "press-4", now.Add(-time.Second), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			line, err := hosts.Host(hostPublic, []string{c.principal}, now.Add(-time.Hour), c.until)
			if err != nil {
				t.Fatal(err)
			}
			cert := filepath.Join(t.TempDir(), "host-cert.pub")
			if err := os.WriteFile(cert, []byte(line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := sshdtest.Start(t, []string{users.Public()}, "HostKey "+hostKey, "HostCertificate "+cert)
			mine, err := users.User(key, sshca.UserCertificate{ID: "alice", Principals: []string{s.Login}, From: now, Until: now.Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			known := s.Write(t, "known_hosts", "@cert-authority * "+hosts.Public()+"\n")
			arguments := append(sshdtest.Options(s.Address, known, id, s.Write(t, "id-cert.pub", mine+"\n")), "-o", "HostKeyAlias=press-4", s.Login+"@127.0.0.1", "echo in")
			out, err := sshdtest.Try(t, "ssh", arguments...)
			if in := err == nil && strings.HasSuffix(out, "in\n"); in != c.in {
				t.Errorf("in: %v, %v\n%s", in, err, out)
			}
		})
	}
}
