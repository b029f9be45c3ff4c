package processes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Sites is a small internet made of network namespaces: one namespace that stands for the internet and holds the relay at
// RelayAddress, and sites which each have one cable to it, a route to the relay's address (or another one) and to nothing else, and a firewall that
// drops whatever comes in unasked. The internet forwards nothing, so no site can reach another. Needs root, ip and nft.
type Sites struct {
	RelayIP string
	prefix  string

	mu    sync.Mutex // guards the fields below
	names []string
	etc   []string
}

// NewSites makes the internet. prefix keeps namespaces of different tests apart and is at most 8 characters.
func NewSites(ctx context.Context, prefix string) (*Sites, error) {
	s := &Sites{RelayIP: "203.0.113.10", prefix: prefix}
	inet := s.Internet()
	return s, s.all(ctx, [][]string{
		{"ip", "netns", "add", inet},
		{"ip", "-n", inet, "link", "set", "lo", "up"},
		{"ip", "-n", inet, "addr", "add", s.RelayIP + "/32", "dev", "lo"},
		{"ip", "netns", "exec", inet, "sysctl", "-qw", "net.ipv4.ip_forward=0"},
	}, inet)
}

// Internet is the namespace of the relay.
func (s *Sites) Internet() string { return s.prefix + "-inet" }

// Name is the namespace of a site.
func (s *Sites) Name(site string) string { return s.prefix + "-" + site }

// Add makes a site with one cable to the internet. Its interface is called wan, with an address nobody else has; its loopback is up.
// dns, unless empty, is what the site's resolv.conf names.
func (s *Sites) Add(ctx context.Context, site, dns string) error {
	return s.AddBehind(ctx, site, dns, s.RelayIP)
}

// AddBehind is Add for a site which has a route to only, an address that the internet has from now on, and not to the relay.
func (s *Sites) AddBehind(ctx context.Context, site, dns, only string) error {
	s.mu.Lock()
	n := len(s.names)
	s.mu.Unlock()
	ns, inet := s.Name(site), s.Internet()
	cable := fmt.Sprintf("%s%d", s.prefix, n)
	near, far := fmt.Sprintf("198.51.100.%d", 4*n+1), fmt.Sprintf("198.51.100.%d", 4*n+2)
	if dns != "" {
		dir := filepath.Join("/etc/netns", ns)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		s.mu.Lock()
		s.etc = append(s.etc, dir)
		s.mu.Unlock()
		if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver "+dns+"\noptions timeout:2 attempts:2\n"), 0o644); err != nil {
			return err
		}
		// Only DNS may know the names: the host's own hosts file must not.
		if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
			return err
		}
	}
	return s.all(ctx, [][]string{
		{"ip", "netns", "add", ns},
		{"ip", "-n", ns, "link", "set", "lo", "up"},
		{"ip", "link", "add", "wan", "netns", ns, "type", "veth", "peer", "name", cable, "netns", inet},
		{"ip", "-n", inet, "addr", "add", near + "/30", "dev", cable},
		{"ip", "-n", inet, "link", "set", cable, "up"},
		{"ip", "-n", ns, "addr", "add", far + "/30", "dev", "wan"},
		{"ip", "-n", ns, "link", "set", "wan", "up"},
		{"ip", "-n", inet, "addr", "replace", only + "/32", "dev", "lo"},
		{"ip", "-n", ns, "route", "add", only + "/32", "via", near, "dev", "wan"},
		{"ip", "netns", "exec", ns, "nft", "add table inet site"},
		{"ip", "netns", "exec", ns, "nft", "add chain inet site in { type filter hook input priority 0; policy drop; }"},
		{"ip", "netns", "exec", ns, "nft", "add rule inet site in iif lo accept"},
		{"ip", "netns", "exec", ns, "nft", "add rule inet site in ct state established,related accept"},
	}, ns)
}

func (s *Sites) all(ctx context.Context, commands [][]string, ns string) error {
	s.mu.Lock()
	s.names = append(s.names, ns)
	s.mu.Unlock()
	for _, c := range commands {
		if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(c, " "), err, out)
		}
	}
	return nil
}

// Close removes the namespaces with everything in them.
func (s *Sites) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ns := range s.names {
		_ = exec.Command("ip", "netns", "del", ns).Run()
	}
	for _, dir := range s.etc {
		_ = os.RemoveAll(dir)
	}
}
