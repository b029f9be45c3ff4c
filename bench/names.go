package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var namesMetrics = []metric{ //nolint:gochecknoglobals // a constant table
	{"small", "authoritative, 1,000 records", "/s", false},
	{"large", "authoritative, 100,000 records", "/s", false},
	{"cached", "cached, 1,000 names", "/s", false},
	{"forwarded", "forwarded, every name new", "/s", false},
	{"lost", "queries lost or refused", "%", true},
}

// nameServer is a subject that answers names: an authoritative zone of n records, and everything else forwarded.
type nameServer interface {
	subject
	serve(ctx context.Context, records int, upstream string, p *processes) (addr string, err error)
}

const ownZone = "plant.example"

func hostOf(i int) string { return fmt.Sprintf("host-%d.%s", i, ownZone) }
func addressOf(i int) string {
	return fmt.Sprintf("10.%d.%d.%d", i>>16&0xff, i>>8&0xff, i&0xff)
}

func measureNames(ctx context.Context, r *result, s subject, seconds float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "isthmus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	upstream, stop, err := startServer(ctx, "dns")
	if err != nil {
		return err
	}
	defer stop()
	add := r.adder(s)
	lost, sent := 0.0, 0.0
	one := func(key string, records int, queries func(i int) string, n int) error {
		p := &processes{dir: dir, pids: map[string]func() int{}}
		defer p.stop()
		addr, err := s.(nameServer).serve(ctx, records, upstream, p)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.logs())
		}
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%s A\n", queries(i))
		}
		file, err := p.file(key+".txt", b.String())
		if err != nil {
			return err
		}
		if err := waitAnswers(ctx, addr); err != nil {
			return fmt.Errorf("%w\n%s", err, p.logs())
		}
		f, err := dnsperf(ctx, addr, file, seconds, key == "forwarded")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.logs())
		}
		add(key, f.perSecond, figures{})
		lost += f.lost
		sent += f.sent
		return nil
	}
	salt := rand.Uint64()
	for _, m := range []struct {
		key     string
		records int
		name    func(i int) string
		n       int
	}{
		{"small", 1000, func(i int) string { return hostOf(i * 7919 % 1000) }, 1000},
		{"large", 100_000, func(i int) string { return hostOf(i * 7919 % 100_000) }, 100_000},
		{"cached", 1000, func(i int) string { return fmt.Sprintf("cached-%d.elsewhere.example", i%1000) }, 1000},
		{"forwarded", 1000, func(i int) string { return fmt.Sprintf("n%x-%d.elsewhere.example", salt, i) }, int(200_000 * max(seconds, 1))},
	} {
		if err := one(m.key, m.records, m.name, m.n); err != nil {
			return fmt.Errorf("%s: %w", m.key, err)
		}
	}
	add("lost", 100*lost/max(sent, 1), figures{})
	return nil
}

type asked struct{ perSecond, sent, lost float64 }

var (
	perSecond = regexp.MustCompile(`Queries per second:\s+([\d.]+)`)
	wasSent   = regexp.MustCompile(`Queries sent:\s+(\d+)`)
	noError   = regexp.MustCompile(`NOERROR (\d+)`)
)

// dnsperf asks as fast as the server answers, with a bounded number of questions open. once stops after the file, so that no name is
// asked twice.
func dnsperf(ctx context.Context, addr, file string, seconds float64, once bool) (asked, error) {
	host, port, _ := strings.Cut(addr, ":")
	args := []string{"-s", host, "-p", port, "-d", file, "-c", "16", "-q", "200", "-t", "2", "-l", strconv.Itoa(max(1, int(seconds)))}
	if once {
		args = append(args, "-n", "1")
	}
	text, err := exec.CommandContext(ctx, "dnsperf", args...).CombinedOutput()
	if err != nil {
		return asked{}, fmt.Errorf("dnsperf: %w\n%s", err, text)
	}
	number := func(re *regexp.Regexp) float64 {
		m := re.FindSubmatch(text)
		if m == nil {
			return 0
		}
		v, _ := strconv.ParseFloat(string(m[1]), 64)
		return v
	}
	a := asked{perSecond: number(perSecond), sent: number(wasSent)}
	a.lost = a.sent - number(noError)
	if a.perSecond == 0 {
		return a, fmt.Errorf("dnsperf reported nothing:\n%s", text)
	}
	return a, nil
}

func zoneText(records int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL 300\n@ IN SOA localhost. nobody.invalid. 1 3600 600 86400 10\n@ IN NS localhost.\n")
	for i := range records {
		fmt.Fprintf(&b, "host-%d A %s\n", i, addressOf(i))
	}
	return b.String()
}

// named is BIND with the zone as primary and everything else forwarded; its threads are as many as processors.
type named struct{}

func (named) name() string    { return "bind" }
func (named) needs() []string { return []string{"named", "dnsperf"} }
func (named) start(context.Context, string, *processes) (way, error) {
	return way{}, nil
}

func (named) serve(ctx context.Context, records int, upstream string, p *processes) (string, error) {
	addr, err := freePort()
	if err != nil {
		return "", err
	}
	if err := publish(p, "db.plant", zoneText(records)); err != nil {
		return "", err
	}
	conf := fmt.Sprintf(`options { directory "%s"; listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion yes;
  allow-query { any; }; allow-recursion { any; }; dnssec-validation no; forwarders { 127.0.0.1 port %s; }; forward only; minimal-responses yes; recursive-clients 10000; };
controls { };
zone "%s" { type primary; file "db.plant"; };
`, p.dir, portOf(addr), portOf(upstream), ownZone)
	if err := publish(p, "named.conf", conf); err != nil {
		return "", err
	}
	_, err = p.run(ctx, "named", "named", "-f", "-c", filepath.Join(p.dir, "named.conf"))
	return addr, err
}

// unbound with the zone as auth-zone.
type unbound struct{}

func (unbound) name() string    { return "unbound" }
func (unbound) needs() []string { return []string{"unbound", "dnsperf"} }
func (unbound) start(context.Context, string, *processes) (way, error) {
	return way{}, nil
}

func (unbound) serve(ctx context.Context, records int, upstream string, p *processes) (string, error) {
	addr, err := freePort()
	if err != nil {
		return "", err
	}
	if err := publish(p, "db.plant", strings.ReplaceAll(zoneText(records), "@ IN", ownZone+". IN")); err != nil {
		return "", err
	}
	conf := fmt.Sprintf(`server:
  port: %s
  interface: 127.0.0.1
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: "%s"
  use-syslog: no
  logfile: ""
  num-threads: 2
  so-reuseport: yes
  do-not-query-localhost: no
  module-config: "iterator"
  outgoing-range: 4096
  num-queries-per-thread: 4096
auth-zone:
  name: "%s"
  zonefile: "db.plant"
  for-downstream: yes
  for-upstream: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@%s
remote-control:
  control-enable: no
`, portOf(addr), p.dir, ownZone, portOf(upstream))
	if err := publish(p, "unbound.conf", conf); err != nil {
		return "", err
	}
	_, err = p.run(ctx, "unbound", "unbound", "-d", "-c", filepath.Join(p.dir, "unbound.conf"))
	return addr, err
}

// coredns with the file, cache and forward plugins; no package of it exists in Debian.
type coredns struct{}

func (coredns) name() string    { return "coredns" }
func (coredns) needs() []string { return []string{"coredns", "dnsperf"} }
func (coredns) start(context.Context, string, *processes) (way, error) {
	return way{}, nil
}

func (coredns) serve(ctx context.Context, records int, upstream string, p *processes) (string, error) {
	addr, err := freePort()
	if err != nil {
		return "", err
	}
	if err := publish(p, "db.plant", zoneText(records)); err != nil {
		return "", err
	}
	conf := fmt.Sprintf("%s:%s {\n  bind 127.0.0.1\n  file %s/db.plant\n}\n.:%s {\n  bind 127.0.0.1\n  cache\n  forward . %s\n}\n", ownZone, portOf(addr), p.dir, portOf(addr), upstream)
	if err := publish(p, "Corefile", conf); err != nil {
		return "", err
	}
	_, err = p.run(ctx, "coredns", "coredns", "-conf", filepath.Join(p.dir, "Corefile"), "-quiet")
	return addr, err
}

// resolverNames is `isthmus dns serve` with a file.
type resolverNames struct{ *binaries }

func (*resolverNames) name() string    { return "isthmus" }
func (*resolverNames) needs() []string { return []string{"go", "dnsperf"} }
func (*resolverNames) start(context.Context, string, *processes) (way, error) {
	return way{}, nil
}

func (s *resolverNames) serve(ctx context.Context, records int, upstream string, p *processes) (string, error) {
	if err := s.build(ctx); err != nil {
		return "", err
	}
	addr, err := freePort()
	if err != nil {
		return "", err
	}
	if err := publish(p, "db.plant", zoneText(records)); err != nil {
		return "", err
	}
	_, err = p.run(ctx, "resolver", s.main, "dns", "serve", "--listen", addr, "--zone-file", ownZone+"="+filepath.Join(p.dir, "db.plant"), "--upstream", upstream, "--log-level", "warn")
	return addr, err
}

// publish writes a file that a server without our rights may read.
func publish(p *processes, name, text string) error {
	return os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644)
}
