package sshproxy

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

// login logs the person in to the machine. What fails is told by v.fail and returned.
func (v *visit) login(ctx context.Context, c net.Conn) error {
	signer, err := v.p.keys.get(ctx, CertifyRequest{Grant: v.s.Grant.ID, Session: v.s.ID, Login: v.account}, v.offset())
	if err != nil {
		return v.fail(session.Unreachable, fault.Wrap("sshproxy.login", fault.Unavailable, err, "the control plane did not certify the login: "+fault.Message(err)))
	}
	known, err := v.p.seen.of(&v.s.Target)
	if err != nil {
		return v.fail(session.Unreachable, err)
	}
	var wrongKey error
	all := ssh.SupportedAlgorithms()
	conn, chans, reqs, err := ssh.NewClientConn(c, v.s.Target.Name, &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: all.KeyExchanges, Ciphers: all.Ciphers, MACs: all.MACs},
		User:              v.account,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		ClientVersion:     version,
		HostKeyAlgorithms: algorithms(known),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			wrongKey = v.p.seen.check(&v.s.Target, known, key)
			return wrongKey
		},
		BannerCallback: func(message string) error { // the machine's, before the login
			if len(message) <= 4096 && v.greet != nil {
				return v.greet(message)
			}
			return nil
		},
	})
	switch {
	case wrongKey != nil:
		return v.fail(session.Unreachable, wrongKey)
	case err != nil && ctx.Err() == nil:
		return v.fail(session.RejectedThere, fault.Newf("sshproxy.login", fault.Denied, "the machine's sshd did not let %s log in", v.account).
			Advise("its sshd_config must have the tenant's authority in TrustedUserCAKeys, and the account must exist").Because(err))
	case err != nil:
		return err
	}
	v.machine, v.machineChans, v.machineReqs = conn, chans, reqs
	return nil
}

// knownHosts are the host keys of machines: those of the plan, or the first ones seen.
type knownHosts struct {
	dir string

	mu   sync.Mutex // guards the fields below
	keys map[string]string
}

// place is what a machine is remembered by: a target that leads elsewhere leads to another machine.
func place(t *plan.Target) string {
	if t.Device != nil {
		return t.ID + " " + t.Device.Hub + "/" + t.Device.Device + "/" + t.Device.Module + "/" + t.Device.Stream
	}
	return t.ID + " " + t.Address
}

// of returns the keys the target's machine may have; none: it was never seen.
func (k *knownHosts) of(t *plan.Target) ([]ssh.PublicKey, error) {
	const op = "sshproxy.knownHosts"
	lines := t.Record.HostKeys
	if len(lines) == 0 {
		k.mu.Lock()
		defer k.mu.Unlock()
		if err := k.load(); err != nil {
			return nil, err
		}
		line, ok := k.keys[place(t)]
		if !ok {
			return nil, nil
		}
		lines = []string{line}
	}
	var out []ssh.PublicKey
	for _, l := range lines {
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l)); err == nil {
			out = append(out, key)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(op, fault.Invalid, "none of the machine's known host keys can be read").Advise("correct spec.ssh.hostKeys of the target")
	}
	return out, nil
}

// check compares the machine's key with those known, and remembers it when none is.
func (k *knownHosts) check(t *plan.Target, known []ssh.PublicKey, key ssh.PublicKey) error {
	const op = "sshproxy.knownHosts"
	if len(known) > 0 {
		if slices.ContainsFunc(known, func(a ssh.PublicKey) bool { return string(a.Marshal()) == string(key.Marshal()) }) {
			return nil
		}
		return fault.Newf(op, fault.Denied, "the machine shows another host key than it should: %s", ssh.FingerprintSHA256(key)).
			Advise("if it was set up anew, put its key into spec.ssh.hostKeys of the target; if not, somebody stands in its place")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	line := sshca.Line(key)
	if before, ok := k.keys[place(t)]; ok && before != line { // somebody else came first, at the same time
		return fault.New(op, fault.Denied, "the machine shows two host keys")
	}
	k.keys[place(t)] = line
	if k.dir == "" {
		return nil
	}
	if err := writeJSON(filepath.Join(k.dir, knownHostsFile), k.keys); err != nil {
		delete(k.keys, place(t))
		return fault.New(op, fault.Unavailable, "the machine's host key could not be remembered").Advise("look at the disk").Because(err)
	}
	return nil
}

// load reads the file, once. One that cannot be read is not taken for an empty one. mu is held.
func (k *knownHosts) load() error {
	if k.keys != nil {
		return nil
	}
	keys := map[string]string{}
	if k.dir != "" {
		path := filepath.Join(k.dir, knownHostsFile)
		if err := readJSON(path, &keys); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New("sshproxy.knownHosts", fault.Unavailable, "the remembered host keys of machines cannot be read").Advise("look at %s", path).Because(err)
		}
	}
	k.keys = keys
	return nil
}

// algorithms are those the machine has to sign with to show one of the keys; without any, all good ones.
func algorithms(known []ssh.PublicKey) []string {
	rsa := []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	if len(known) == 0 {
		return append([]string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521}, rsa...)
	}
	var out []string
	for _, k := range known {
		if k.Type() == ssh.KeyAlgoRSA {
			out = append(out, rsa...)
		} else {
			out = append(out, k.Type())
		}
	}
	return out
}
