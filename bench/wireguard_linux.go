package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// wireguard is wireguard-go in user space between two network namespaces. It needs root and /dev/net/tun.
type wireguard struct{}

func (wireguard) name() string { return "wireguard-go" }
func (wireguard) needs() []string {
	if os.Getuid() != 0 {
		return []string{"root"}
	}
	return []string{"wireguard-go", "ip"}
}

func (wireguard) start(ctx context.Context, _ string, p *processes) (way, error) {
	ip := func(args ...string) error {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	sides := [2]string{"isthmus-bench-a", "isthmus-bench-b"}
	for _, ns := range sides {
		if err := ip("netns", "add", ns); err != nil {
			return way{}, err
		}
		p.undo = append(p.undo, func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	}
	if err := ip("link", "add", "bench0", "netns", sides[0], "type", "veth", "peer", "name", "bench0", "netns", sides[1]); err != nil {
		return way{}, err
	}
	keys := [2]*ecdh.PrivateKey{}
	for i := range keys {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return way{}, err
		}
		keys[i] = k
	}
	outer, inner := [2]string{"10.99.0.1", "10.99.0.2"}, [2]string{"10.98.0.1", "10.98.0.2"}
	for i, ns := range sides {
		for _, args := range [][]string{
			{"-n", ns, "addr", "add", outer[i] + "/24", "dev", "bench0"}, {"-n", ns, "link", "set", "bench0", "up"}, {"-n", ns, "link", "set", "lo", "up"},
		} {
			if err := ip(args...); err != nil {
				return way{}, err
			}
		}
		dev := fmt.Sprintf("wgb%d", i)
		if _, err := p.runEnv(ctx, []string{"LOG_LEVEL=error"}, "wireguard-"+ns, "ip", "netns", "exec", ns, "wireguard-go", "-f", dev); err != nil {
			return way{}, err
		}
		sock := filepath.Join("/var/run/wireguard", dev+".sock")
		conf := fmt.Sprintf("set=1\nprivate_key=%s\nlisten_port=51820\npublic_key=%s\nendpoint=%s:51820\nallowed_ip=0.0.0.0/0\n\n",
			hex.EncodeToString(keys[i].Bytes()), hex.EncodeToString(keys[1-i].PublicKey().Bytes()), outer[1-i])
		if err := configure(ctx, sock, conf); err != nil {
			return way{}, err
		}
		for _, args := range [][]string{{"-n", ns, "addr", "add", inner[i] + "/24", "dev", dev}, {"-n", ns, "link", "set", dev, "up"}} {
			if err := ip(args...); err != nil {
				return way{}, err
			}
		}
	}
	self, err := os.Executable()
	if err != nil {
		return way{}, err
	}
	addr := inner[1] + ":7000"
	_, err = p.run(ctx, "serve", "ip", "netns", "exec", sides[1], self, "serve", addr)
	return way{addr: addr, netns: sides[0]}, err
}

func configure(ctx context.Context, sock, text string) error {
	deadline := time.Now().Add(10 * time.Second)
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "unix", sock)
		if err == nil {
			defer c.Close()
			_, err = c.Write([]byte(text))
			return err
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("wireguard-go did not open "+sock), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
