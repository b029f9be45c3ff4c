package sshproxy

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

// Files of Config.Dir.
const (
	hostKeyFile          = "host_key"               // OpenSSH private key
	hostCertificatesFile = "host_certificates.json" // {target: line}
	knownHostsFile       = "known_hosts.json"       // {target and address: line}
)

// askAgain is how long after it was asked for a host certificate of a target the control plane is asked again.
const askAgain = time.Minute

// hostKey is what people's programs know us by: one key, and a certificate of it for each target.
type hostKey struct {
	cfg *Config
	log *slog.Logger
	clk clock.Clock

	mu           sync.Mutex // guards the fields below
	key          ssh.Signer // nil until the first person comes
	certificates map[string]string
	asked        map[string]time.Time // when the control plane was, last
}

// signers returns the host keys to show for a target: the certificate first, when there is one.
func (h *hostKey) signers(ctx context.Context, target string) ([]ssh.Signer, error) {
	cert, again, err := h.look(target)
	if err != nil {
		return nil, err
	}
	if again {
		if c, err := h.ask(ctx, target); err != nil {
			h.log.Warn("no host certificate could be had; people's programs may not know the target", "target", target, "error", err)
		} else {
			cert = c
		}
	}
	if cert == nil {
		return []ssh.Signer{h.key}, nil
	}
	s, err := ssh.NewCertSigner(cert, h.key)
	if err != nil {
		return nil, fault.Wrap("sshproxy.hostKey", fault.Internal, err, "")
	}
	return []ssh.Signer{s, h.key}, nil
}

// look returns the certificate there is, and whether the caller should ask for another. The key is there afterwards, and stays.
func (h *hostKey) look(target string) (cert *ssh.Certificate, again bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.key == nil {
		if err := h.load(); err != nil {
			return nil, false, err
		}
	}
	now := h.clk.Now()
	cert, left := h.usable(h.certificates[target], now)
	// Renewed in the last third, when there is still time to try again.
	if h.cfg.HostCertify == nil || left >= 3 || now.Sub(h.asked[target]) < askAgain {
		return cert, false, nil
	}
	if len(h.asked) > maxKept {
		clear(h.asked)
	}
	h.asked[target] = now
	return cert, true, nil
}

// usable reads a certificate of our key. left is how much of its time remains, in ninths.
func (h *hostKey) usable(line string, now time.Time) (cert *ssh.Certificate, left int64) {
	k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, 0
	}
	c, ok := k.(*ssh.Certificate)
	if !ok || c.CertType != ssh.HostCert || string(c.Key.Marshal()) != string(h.key.PublicKey().Marshal()) {
		return nil, 0
	}
	from, until := int64(c.ValidAfter), int64(c.ValidBefore)
	if c.ValidBefore == ssh.CertTimeInfinity {
		return c, 9
	}
	if now.Unix() < from || now.Unix() >= until {
		return nil, 0
	}
	return c, 9 * (until - now.Unix()) / (until - from)
}

// ask asks the control plane, without holding up those who come meanwhile.
func (h *hostKey) ask(ctx context.Context, target string) (*ssh.Certificate, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var line string
	var err error
	bounded(h.clk, askTime, cancel, func() {
		line, err = h.cfg.HostCertify(ctx, HostCertifyRequest{Target: target, PublicKey: sshca.Line(h.key.PublicKey())})
	})
	if err != nil {
		return nil, err
	}
	cert, left := h.usable(line, h.clk.Now())
	if left == 0 {
		return nil, fault.New("sshproxy.hostKey", fault.Invalid, "the control plane's host certificate is for another key, or not valid now")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.certificates) > maxKept {
		clear(h.certificates)
	}
	h.certificates[target] = line
	if h.cfg.Dir != "" {
		if err := writeJSON(filepath.Join(h.cfg.Dir, hostCertificatesFile), h.certificates); err != nil {
			h.log.Warn("a host certificate could not be kept", "error", err)
		}
	}
	return cert, nil
}

// load reads the key, or makes it.
func (h *hostKey) load() error {
	const op = "sshproxy.hostKey"
	h.certificates = map[string]string{}
	path := filepath.Join(h.cfg.Dir, hostKeyFile)
	private, err := []byte(nil), fs.ErrNotExist
	if h.cfg.Dir != "" {
		private, err = os.ReadFile(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, private, err = sshca.NewKey(); err != nil {
			return err
		}
		if h.cfg.Dir != "" {
			if err := keepfile.Write(path, private); err != nil {
				return fault.Newf(op, fault.Unavailable, "the SSH host key could not be kept").Advise("look at %s", path).Because(err)
			}
		}
	case err != nil:
		return fault.Newf(op, fault.Unavailable, "the SSH host key could not be read").Advise("look at %s", path).Because(err)
	}
	key, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return fault.Newf(op, fault.Invalid, "the SSH host key is damaged").Advise("remove %s; another is made", path)
	}
	if h.cfg.Dir != "" {
		// What is damaged is asked for again.
		_ = readJSON(filepath.Join(h.cfg.Dir, hostCertificatesFile), &h.certificates)
	}
	h.key = key
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return keepfile.Write(path, append(b, '\n'))
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
