package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

// tlsEcho answers what it reads, over TLS.
func tlsEcho(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"hub.example.net"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

func echoOnce(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	var b [4]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	if string(b[:]) != "ping" {
		return fmt.Errorf("the echo is %q", b)
	}
	return nil
}

// TestGatewayUpgrades: a gateway is reloaded and replaced by new processes again and again, and no client notices.
func TestGatewayUpgrades(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	target := tlsEcho(t)
	address, err := processes.FreePort(ctx)
	must(t, err)
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	dir := t.TempDir()
	config := filepath.Join(dir, "gateway.yaml")
	write := func(n int) {
		t.Helper()
		must(t, os.WriteFile(config, fmt.Appendf(nil, `apiVersion: isthmus/v1
kind: Gateway
metadata: {tenant: ot, network: front, name: front}
spec:
  listeners: [{name: tls, address: 127.0.0.1, port: %s}]
  routes: [{names: [hub.example.net], group: hub}]
  groups: [{name: hub, targets: ["%s"], balance: %s}]
  limits: {drainSeconds: 20}
---
apiVersion: isthmus/v1
kind: Allowlist
metadata: {tenant: ot, network: front, name: local}
spec:
  rules:
    - {name: rule-%d, sources: [127.0.0.0/8]}
    - {name: other, sources: [10.%d.0.0/16]}
`, port, target, []string{"least-connections", "source"}[n%2], n, n%200), 0o600))
	}
	write(0)
	d := processes.New(dir, binary)
	t.Cleanup(func() {
		d.Stop()
		if t.Failed() {
			t.Log(d.Logs())
		}
	})
	start := func(n int) *processes.Process {
		t.Helper()
		p, err := d.Start(fmt.Sprintf("gateway-%d", n), "", nil, "gateway", "run", "--config", config, "--data-dir", filepath.Join(dir, "data"))
		must(t, err)
		_, err = p.WaitLog(ctx, "the gateway is ready")
		must(t, err)
		return p
	}
	running := start(0)

	dial := func() (*tls.Conn, error) {
		return tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, &tls.Config{ServerName: "hub.example.net", InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	}
	lasting, err := dial()
	must(t, err)
	defer lasting.Close()
	must(t, echoOnce(lasting))

	var made, failed atomic.Int64
	var first atomic.Value
	loading, endLoad := context.WithCancel(ctx)
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for loading.Err() == nil {
				c, err := dial()
				if err == nil {
					err = echoOnce(c)
					c.Close()
				}
				if err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
				made.Add(1)
			}
		})
	}
	more := func(n int64) {
		t.Helper()
		want := made.Load() + n
		must(t, processes.Until(ctx, func() error {
			if made.Load() < want {
				return fmt.Errorf("only %d connections so far", made.Load())
			}
			return nil
		}))
	}

	more(50)
	for n := 1; n <= 20; n++ {
		write(n)
		must(t, syscall.Kill(running.PID(), syscall.SIGHUP))
		more(20)
	}
	// A file that cannot be used changes nothing, and is told of.
	must(t, os.WriteFile(config, []byte("apiVersion: isthmus/v1\nkind: Gateway\nmetadata: {tenant: ot, network: front, name: front}\nspec: {listeners: [], rotes: []}\n"), 0o600))
	must(t, syscall.Kill(running.PID(), syscall.SIGHUP))
	if _, err := running.WaitLog(ctx, "rotes"); err != nil {
		t.Error(err)
	}
	more(20)
	write(21)
	must(t, echoOnce(lasting))
	t.Logf("%d connections through 21 reloads, %d failed", made.Load(), failed.Load())

	for n := 1; n <= 3; n++ {
		old := running
		running = start(n)
		more(100)
		if n == 1 {
			must(t, echoOnce(lasting)) // the old process drains
			lasting.Close()
		}
		must(t, processes.Until(ctx, func() error {
			if syscall.Kill(old.PID(), 0) == nil && !bytes.Contains([]byte(old.Log()), []byte("drained")) {
				return fmt.Errorf("process %d has not drained yet", n-1)
			}
			return nil
		}))
		more(50)
	}
	endLoad()
	load.Wait()
	t.Logf("%d connections in all, %d failed", made.Load(), failed.Load())
	if failed.Load() > 0 || made.Load() < 800 {
		t.Errorf("%d of %d connections failed; the first: %v", failed.Load(), made.Load(), first.Load())
	}
}
