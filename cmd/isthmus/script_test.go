package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resolver/asker"
	"github.com/isthmus-io/isthmus/store"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"isthmus": main}) }

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "enrol": enrol, "report": report, "mode": mode, "capture": capture,
			"resolves": resolves, "free": free, "fill": fill, "until": until, "dial": dial, "answers": answers,
			"serve": serve, "here": here, "sees": sees, "play": play, "register": register, "keep": keep, "sign": sign,
			"provider": provider, "sits": sits, "embed": embed, "edit": edit, "visit": visit, "tells": tells, "dead": dead},
	})
}

// setup gives each script a control plane of its own on loopback, and the environment a first user has: address and pin known, the
// administrator's token in $WORK/admin.token.
func setup(env *testscript.Env) error {
	p, err := startPlane(env.WorkDir)
	if err != nil {
		return err
	}
	env.Values["plane"] = p
	env.Values["local"] = &local{}
	env.Defer(p.stop)
	env.Setenv("SERVER", p.address)
	env.Setenv("PIN", jointoken.Pin(p.authority.Certificate()))
	plant, err := filepath.Abs("../../hub/azureexport/testdata")
	if err != nil {
		return err
	}
	env.Setenv("PLANT", plant) // exports of a plant
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("GORACE", "atexit_sleep_ms=0") // or every command lasts a second under -race
	env.Setenv("ISTHMUS_CONFIG", filepath.Join(env.WorkDir, "config", "contexts.yaml"))
	if err := os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), p.authority.CertificatePEM(), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(env.WorkDir, "admin.token"), []byte(p.admin+"\n"), 0o600)
}

// plane is a control plane in this process.
type plane struct {
	ctl       *control.Control
	authority *identity.Authority
	address   string
	admin     string
	members   map[string]identity.ID // of agents that joined
	stop      func()
}

func startPlane(dir string) (*plane, error) {
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	authority, _, err := identity.NewAuthority("isthmus.test", time.Now())
	if err != nil {
		cancel()
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, err
	}
	p := &plane{authority: authority, address: ln.Addr().String(), members: map[string]identity.ID{}}
	st, err := store.Open(ctx, store.Config{DSN: filepath.Join(dir, "control.db")}, log)
	if err == nil {
		p.ctl, err = control.New(control.Config{Addresses: []string{p.address}, SignInPrivate: true, WebhookPrivate: true, Recordings: filepath.Join(dir, "recordings")}, st, authority, log, clock.System{}, nil)
	}
	if err == nil {
		p.admin, err = p.ctl.Bootstrap(ctx)
	}
	var cert *httpdoor.Certificate
	if err == nil {
		cert, err = httpdoor.NewCertificate(authority, []string{"127.0.0.1"}, clock.System{})
	}
	if err != nil {
		cancel()
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate())
	door := httpdoor.New(p.ctl, httpdoor.Config{Version: "v0.0.0-test", TrustDomain: authority.TrustDomain, Roots: roots}, log, clock.System{}, nil)
	done := make(chan struct{}, 2)
	go func() { _ = p.ctl.Run(ctx); done <- struct{}{} }()
	go func() { _ = httpdoor.Serve(ctx, ln, door, cert, log); done <- struct{}{} }()
	p.stop = func() {
		cancel()
		<-done
		<-done
		_ = st.Close()
	}
	return p, nil
}

func planeOf(ts *testscript.TestScript) *plane { return ts.Value("plane").(*plane) }

// exits CODE COMMAND ARGS... runs a command and wants this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		code = -1
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// enrol TENANT/NETWORK NAME lets an agent join, as its process would.
func enrol(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: enrol TENANT/NETWORK NAME [ROLE]")
	}
	as := control.JoinAgent
	if len(args) == 3 {
		as, args = control.Joiner(args[2]), args[:2]
	}
	p := planeOf(ts)
	tenant, network, _ := strings.Cut(args[0], "/")
	ctx := context.Background()
	t, err := p.ctl.CreateJoinToken(ctx, control.Principal{Name: "admin", Role: control.RoleAdmin},
		control.JoinTokenRequest{For: as, Tenant: tenant, Network: network, Name: args[1]})
	ts.Check(err)
	key, _, err := identity.NewKey()
	ts.Check(err)
	csr, err := identity.NewRequest(key, "")
	ts.Check(err)
	reply, err := p.ctl.Enrol(ctx, control.EnrolRequest{Secret: t.Secret, Name: args[1], CSR: string(csr), Version: "v9.9.9", Now: time.Now()})
	ts.Check(err)
	p.members[strings.Join(args, "/")] = reply.ID
}

// report TENANT/NETWORK NAME PROBLEM... lets an agent report problems.
func report(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: report TENANT/NETWORK NAME PROBLEM...")
	}
	p := planeOf(ts)
	id := p.members[args[0]+"/"+args[1]]
	ts.Check(p.ctl.Report(context.Background(), id, control.AgentReport{Version: "v9.9.9", Problems: args[2:]}))
}

// resolves TENANT/NETWORK NAME IP:PORT... lets an agent report where its resolver answers.
func resolves(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: resolves TENANT/NETWORK NAME IP:PORT...")
	}
	p := planeOf(ts)
	r := control.AgentReport{Version: "v9.9.9"}
	for _, a := range args[2:] {
		at, err := netip.ParseAddrPort(a)
		ts.Check(err)
		r.DNSAddresses = append(r.DNSAddresses, at)
	}
	ts.Check(p.ctl.Report(context.Background(), p.members[args[0]+"/"+args[1]], r))
}

// free VARIABLE... sets variables to ports that are free on loopback, for TCP and for UDP.
func free(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: free VARIABLE...")
	}
	for range 20 {
		var held []io.Closer
		for _, name := range args {
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			ts.Check(err)
			held = append(held, tcp)
			udp, err := net.ListenPacket("udp", tcp.Addr().String())
			if err != nil {
				break
			}
			held = append(held, udp)
			ts.Setenv(name, strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port))
		}
		for _, c := range held {
			_ = c.Close()
		}
		if len(held) == 2*len(args) {
			return
		}
	}
	ts.Fatalf("no ports are free")
}

// fill FILE... puts variables in the place of $NAME and ${NAME}.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fill FILE...")
	}
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// until COMMAND ARGS... runs a command again and again until it succeeds: another process is on its way there.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: until COMMAND ARGS...")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); ts.Exec(args[0], args[1:]...) != nil; {
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("it never succeeded")
		}
	}
}

// answers IP:PORT waits until a resolver answers there.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: answers IP:PORT")
	}
	at, err := netip.ParseAddrPort(args[0])
	ts.Check(err)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); ; {
		if _, err = asker.Ask(context.Background(), at, "any.example", 1, clock.System{}); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("%v", err)
		}
	}
}

// dial IP:PORT connects and waits until the other side is done with it, which is to refuse it.
func dial(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: dial IP:PORT")
	}
	c, err := net.Dial("tcp", args[0])
	if errors.Is(err, syscall.ECONNRESET) { // it was as quick as that
		return
	}
	ts.Check(err)
	defer c.Close()
	ts.Check(c.SetDeadline(time.Now().Add(20 * time.Second)))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		ts.Fatalf("it was not refused: %v", err)
	}
}

// mode OCTAL FILE wants these permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatInt(int64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// capture VARIABLE REGEXP sets a variable to the first group of a match in the last standard output.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture VARIABLE REGEXP")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}
