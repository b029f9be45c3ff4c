package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

// sshFiles are the files that OpenSSH reads for one account of one target. They stay until the certificate has lapsed, so that people
// come in while the control plane is away; then they are good for nothing.
//
//	FOLDER/ssh/press-4-ssh.plant-7.ot.isthmus/known_hosts            what the machine's keys must be
//	FOLDER/ssh/press-4-ssh.plant-7.ot.isthmus/seen_hosts             the key seen first, where none is known; ssh writes it
//	FOLDER/ssh/press-4-ssh.plant-7.ot.isthmus/service/id_ed25519     made here
//	FOLDER/ssh/press-4-ssh.plant-7.ot.isthmus/service/id_ed25519-cert.pub
//	FOLDER/ssh/press-4-ssh.plant-7.ot.isthmus/service/grant.json     what the certificate was given for
type sshFiles struct {
	host  string // press-4-ssh.plant-7.ot.isthmus
	login string
	root  string // FOLDER/ssh
}

func (s *accessSession) sshFiles(path, login string) sshFiles {
	return sshFiles{host: hostName(path), login: login, root: filepath.Join(s.folder, "ssh")}
}

func (f sshFiles) known() string { return filepath.Join(f.root, f.host, "known_hosts") }
func (f sshFiles) seen() string  { return filepath.Join(f.root, f.host, "seen_hosts") }
func (f sshFiles) key() string   { return filepath.Join(f.root, f.host, f.login, "id_ed25519") }
func (f sshFiles) certificate() string {
	return filepath.Join(f.root, f.host, f.login, "id_ed25519-cert.pub")
}
func (f sshFiles) grant() string { return filepath.Join(f.root, f.host, f.login, "grant.json") }

// certified is what a certificate was given for.
type certified struct {
	Grant string    `json:"grant"`
	Until time.Time `json:"until"` // of the grant, at that time
}

// accountOf chooses the account: the one that was said, the only one there is, or this user's own name where that is allowed.
func accountOf(said string, g dialer.PassGrant) (string, error) {
	switch {
	case said != "" && (len(g.Logins) == 0 || slices.Contains(g.Logins, said)):
		return said, nil
	case said != "":
		return "", usagef("%s has no account %q for people who are let in", g.Target, said).advise("accounts are %s", strings.Join(g.Logins, ", "))
	case len(g.Logins) == 1:
		return g.Logins[0], nil
	}
	if me, err := user.Current(); err == nil {
		name := me.Username[strings.LastIndex(me.Username, `\`)+1:] // Windows: DOMAIN\name
		if len(g.Logins) == 0 || slices.Contains(g.Logins, name) {
			return name, nil
		}
	}
	return "", usagef("%s has several accounts", g.Target).advise("say which: isthmus ssh %s@%s; accounts are %s", g.Logins[0], g.Target, strings.Join(g.Logins, ", "))
}

// prepare makes the files fit a grant: key, certificate and what the machine's keys must be.
func (f sshFiles) prepare(ctx context.Context, s *accessSession, g dialer.PassGrant) error {
	f.sweep(s.w.clock.Now())
	if err := f.writeHosts(g); err != nil {
		return err
	}
	key, err := f.ensureKey()
	if err != nil {
		return err
	}
	now := s.w.clock.Now()
	until, good := f.good(key, g, now)
	if good && (until.Sub(now) > renewBefore || !until.Before(g.Until.Add(-time.Minute))) {
		return nil
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	done := s.wait()
	c, err := s.SSHCertificate(ctx, g.ID, line, f.login)
	done()
	switch kind := fault.KindOf(err); {
	case err == nil:
	case good && (kind == fault.Unavailable || kind == fault.Timeout): // the one there is goes on
		return nil
	default:
		return err
	}
	b, err := json.Marshal(certified{g.ID, g.Until})
	if err == nil {
		err = keepfile.Write(f.certificate(), []byte(strings.TrimSpace(c.Certificate)+"\n"))
	}
	if err == nil {
		err = keepfile.Write(f.grant(), b)
	}
	if err != nil {
		return cannotKeep(err)
	}
	return nil
}

// renewBefore is how long before its end a certificate is renewed, where the grant lasts longer.
const renewBefore = 5 * time.Minute

func cannotKeep(err error) error {
	return fault.Wrap("isthmus.ssh", fault.Unavailable, err, "cannot "+err.Error())
}

// ensureKey returns the public half of the key, which is made when there is none. Of two programs that make one, both use the first.
func (f sshFiles) ensureKey() (ssh.PublicKey, error) {
	const op = "isthmus.ssh"
	for range 2 {
		b, err := os.ReadFile(f.key())
		if err == nil {
			signer, err := ssh.ParsePrivateKey(b)
			if err == nil {
				return signer.PublicKey(), nil
			}
			_ = os.Remove(f.key()) // it is of no use to ssh either
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Wrap(op, fault.Unavailable, err, "cannot "+err.Error())
		}
		if err := f.makeKey(); err != nil {
			return nil, err
		}
	}
	return nil, fault.Newf(op, fault.Unavailable, "the key %s cannot be read", f.key()).Advise("remove it")
}

func (f sshFiles) makeKey() error {
	const op = "isthmus.ssh"
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	block, err := ssh.MarshalPrivateKey(private, "isthmus")
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	fresh := f.key() + "." + digest(string(private.Public().(ed25519.PublicKey))) //nolint:forcetypeassert // it is ed25519's
	if err := keepfile.Write(fresh, pem.EncodeToMemory(block)); err != nil {
		return cannotKeep(err)
	}
	defer os.Remove(fresh)
	if err := os.Link(fresh, f.key()); err != nil && !errors.Is(err, fs.ErrExist) { // a file system without links
		if err := os.Rename(fresh, f.key()); err != nil {
			return cannotKeep(err)
		}
	}
	return nil
}

// good tells until when there is a certificate for the key, the account and the grant.
func (f sshFiles) good(key ssh.PublicKey, g dialer.PassGrant, now time.Time) (until time.Time, ok bool) {
	var given certified
	if b, err := os.ReadFile(f.grant()); err != nil || json.Unmarshal(b, &given) != nil || given.Grant != g.ID {
		return until, false
	}
	c, err := readCertificate(f.certificate())
	if err != nil || string(c.Key.Marshal()) != string(key.Marshal()) || !slices.Contains(c.ValidPrincipals, f.login) {
		return until, false
	}
	if _, only := c.CriticalOptions[sshca.RecordedOnly]; only && !g.Recorded { // the policy was another one: sshd does not take it
		return until, false
	}
	until = endOf(c)
	return until, now.Before(until)
}

func readCertificate(file string) (*ssh.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return nil, err
	}
	c, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, fault.Newf("isthmus.ssh", fault.Invalid, "%s is no certificate", file)
	}
	return c, nil
}

func endOf(c *ssh.Certificate) time.Time {
	if c.ValidBefore > 1<<62 { // for ever
		return time.Unix(1<<62, 0)
	}
	return time.Unix(int64(c.ValidBefore), 0)
}

// writeHosts says what the machine's keys must be, if that is known. A session that is recorded ends at the agent, which shows a
// certificate of the tenant's authority; every other goes through to the machine's own keys.
func (f sshFiles) writeHosts(g dialer.PassGrant) error {
	var b strings.Builder
	if g.Recorded && g.HostCA != "" {
		b.WriteString("@cert-authority " + f.host + " " + keyOf(g.HostCA) + "\n")
	}
	if !g.Recorded {
		for _, k := range g.HostKeys {
			b.WriteString(f.host + " " + keyOf(k) + "\n")
		}
	}
	if b.Len() > 0 {
		_ = os.Remove(f.seen()) // what was seen counts for nothing beside what is known
	} else if _, err := os.Stat(f.seen()); errors.Is(err, fs.ErrNotExist) { // ssh would make it readable for all
		if err := keepfile.Write(f.seen(), nil); err != nil {
			return cannotKeep(err)
		}
	}
	if old, err := os.ReadFile(f.known()); err == nil && string(old) == b.String() {
		return nil
	}
	if err := keepfile.Write(f.known(), []byte(b.String())); err != nil {
		return cannotKeep(err)
	}
	return nil
}

// keyOf is a public key's type and key, without a comment or anything behind them.
func keyOf(line string) string {
	parts := strings.Fields(line)
	return strings.Join(parts[:min(len(parts), 2)], " ")
}

// firstSeen tells whether nothing is known of the machine's keys, so that the first one seen is remembered.
func (f sshFiles) firstSeen() bool {
	b, err := os.ReadFile(f.known())
	return err == nil && len(b) == 0
}

// sweep removes keys whose certificate lapsed a day ago.
func (f sshFiles) sweep(now time.Time) {
	old, err := filepath.Glob(filepath.Join(f.root, "*", "*", "id_ed25519-cert.pub"))
	if err != nil {
		return
	}
	for _, file := range old {
		if c, err := readCertificate(file); err == nil && now.Sub(endOf(c)) > 24*time.Hour {
			_ = os.RemoveAll(filepath.Dir(file))
		}
	}
}
