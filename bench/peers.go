package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// raw is no way at all: the client dials the server.
type raw struct{}

func (raw) name() string    { return "raw" }
func (raw) needs() []string { return nil }
func (raw) start(_ context.Context, target string, _ *processes) (way, error) {
	return way{addr: target}, nil
}

// frp with TLS between frpc and frps, as its documentation sets it up.
type frp struct{}

func (frp) name() string    { return "frp" }
func (frp) needs() []string { return []string{"frps", "frpc"} }
func (frp) start(ctx context.Context, target string, p *processes) (way, error) {
	bind, err := freePort()
	if err != nil {
		return way{}, err
	}
	entry, err := freePort()
	if err != nil {
		return way{}, err
	}
	server, err := p.file("frps.toml", fmt.Sprintf("bindAddr = \"127.0.0.1\"\nbindPort = %s\nproxyBindAddr = \"127.0.0.1\"\nlog.level = \"warn\"\n", portOf(bind)))
	if err != nil {
		return way{}, err
	}
	client, err := p.file("frpc.toml", fmt.Sprintf("serverAddr = \"127.0.0.1\"\nserverPort = %s\ntransport.tls.enable = true\nlog.level = \"warn\"\n[[proxies]]\nname = \"bench\"\ntype = \"tcp\"\nlocalIP = \"127.0.0.1\"\nlocalPort = %s\nremotePort = %s\n",
		portOf(bind), portOf(target), portOf(entry)))
	if err != nil {
		return way{}, err
	}
	if _, err := p.run(ctx, "frps", "frps", "-c", server); err != nil {
		return way{}, err
	}
	if err := waitListening(ctx, bind); err != nil {
		return way{}, err
	}
	_, err = p.run(ctx, "frpc", "frpc", "-c", client)
	return way{addr: entry}, err
}

// chisel forwards through SSH inside a WebSocket.
type chisel struct{}

func (chisel) name() string    { return "chisel" }
func (chisel) needs() []string { return []string{"chisel"} }
func (chisel) start(ctx context.Context, target string, p *processes) (way, error) {
	bind, err := freePort()
	if err != nil {
		return way{}, err
	}
	entry, err := freePort()
	if err != nil {
		return way{}, err
	}
	if _, err := p.run(ctx, "server", "chisel", "server", "--host", "127.0.0.1", "--port", portOf(bind)); err != nil {
		return way{}, err
	}
	if err := waitListening(ctx, bind); err != nil {
		return way{}, err
	}
	_, err = p.run(ctx, "client", "chisel", "client", "http://"+bind, entry+":"+target)
	return way{addr: entry}, err
}

// stunnel is TLS without multiplexing: one handshake a flow.
type stunnel struct{}

func (stunnel) name() string    { return "stunnel" }
func (stunnel) needs() []string { return []string{"stunnel"} }
func (stunnel) start(ctx context.Context, target string, p *processes) (way, error) {
	bind, err := freePort()
	if err != nil {
		return way{}, err
	}
	entry, err := freePort()
	if err != nil {
		return way{}, err
	}
	pemFile, err := selfSigned(p)
	if err != nil {
		return way{}, err
	}
	server, err := p.file("server.conf", fmt.Sprintf("foreground = yes\npid =\n[bench]\naccept = %s\nconnect = %s\ncert = %s\nsslVersionMin = TLSv1.3\n", bind, target, pemFile))
	if err != nil {
		return way{}, err
	}
	client, err := p.file("client.conf", fmt.Sprintf("foreground = yes\npid =\n[bench]\nclient = yes\naccept = %s\nconnect = %s\nCAfile = %s\nverifyPeer = yes\nsslVersionMin = TLSv1.3\n", entry, bind, pemFile))
	if err != nil {
		return way{}, err
	}
	if _, err := p.run(ctx, "server", "stunnel", server); err != nil {
		return way{}, err
	}
	_, err = p.run(ctx, "client", "stunnel", client)
	return way{addr: entry}, err
}

func selfSigned(p *processes) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return "", err
	}
	kd, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return p.file("self.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kd}))+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// ssh is OpenSSH's local forwarding.
type ssh struct{}

func (ssh) name() string    { return "ssh -L" }
func (ssh) needs() []string { return []string{"sshd", "ssh", "ssh-keygen"} }
func (ssh) start(ctx context.Context, target string, p *processes) (way, error) {
	bind, user, err := startSSHD(ctx, p, "sshd")
	if err != nil {
		return way{}, err
	}
	entry, err := freePort()
	if err != nil {
		return way{}, err
	}
	_, err = p.run(ctx, "ssh", "ssh", "-N", "-L", entry+":"+target, "-p", portOf(bind), "-i", user, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes", "127.0.0.1")
	return way{addr: entry}, err
}

// startSSHD starts an sshd which lets in whoever has the user's key, the same one for all that a subject starts.
func startSSHD(ctx context.Context, p *processes, role string) (bind, user string, err error) {
	if bind, err = freePort(); err != nil {
		return "", "", err
	}
	host, user := filepath.Join(p.dir, role+"-host"), filepath.Join(p.dir, "user")
	for _, k := range []string{host, user} {
		if _, err := os.Stat(k); err == nil {
			continue
		}
		if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k).CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	if os.Getuid() == 0 {
		_ = os.MkdirAll("/run/sshd", 0o755)
	}
	conf, err := p.file(role+".conf", fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nMaxSessions 100000\n",
		portOf(bind), host, user+".pub"))
	if err != nil {
		return "", "", err
	}
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		return "", "", err
	}
	if _, err := p.run(ctx, role, sshd, "-D", "-e", "-f", conf); err != nil {
		return "", "", err
	}
	return bind, user, waitListening(ctx, bind)
}
