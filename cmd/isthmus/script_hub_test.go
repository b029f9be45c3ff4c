package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/signin/signintest"
)

// The names of what a script's hub process serves. They lead to this machine without a resolver.
const (
	scriptHub = "localhost"
	scriptDPS = "127.0.0.2"

	scriptNamespace = "127.0.0.3"
	scriptStorage   = "127.0.0.4"
)

// local is a hub process in this one, with a provisioning service beside the hub.
type local struct {
	hub *hub.Hub
	dps *provisioning.Service

	namespace *eventhub.Namespace

	provider *signintest.Provider
}

// serve starts a hub, with a blob service beside it when that is asked for, whose data directory is in $HUB, its address of HTTPS in $HTTPS, and what to trust in $CA.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 || len(args) == 1 && args[0] != "storage" {
		ts.Fatalf("usage: serve [storage]")
	}
	free(ts, false, []string{"MQTT_PORT", "HTTPS_PORT", "AMQP_PORT"})
	cfg := node.LocalHubConfig{Hosts: []string{scriptHub}, ProvisioningHosts: []string{scriptDPS}, NamespaceHosts: []string{scriptNamespace}}
	if len(args) == 1 {
		cfg.StorageHosts, cfg.Containers = []string{scriptStorage}, []string{"checkpoints"}
	}
	cfg.DataDir = ts.MkAbs("hub")
	cfg.MQTT, cfg.HTTPS = []string{net.JoinHostPort("127.0.0.1", ts.Getenv("MQTT_PORT"))}, []string{net.JoinHostPort("127.0.0.1", ts.Getenv("HTTPS_PORT"))}
	cfg.AMQP = []string{net.JoinHostPort("127.0.0.1", ts.Getenv("AMQP_PORT"))}
	l := ts.Value("local").(*local)
	ready := make(chan struct{})
	cfg.Ready = func(s node.LocalServices) {
		l.hub, l.dps, l.namespace = s.Hub, s.Provisioning, s.Namespace
		ts.Setenv("CA", s.AuthorityFile)
		close(ready)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.LocalHub(ctx, cfg, slog.New(slog.DiscardHandler), clock.System{}, nil) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		ts.Fatalf("no hub: %v", err)
	}
	ts.Defer(func() {
		cancel()
		ts.Check(<-ended)
	})
	for end := time.Now().Add(20 * time.Second); ; {
		if c, err := net.Dial("unix", filepath.Join(cfg.DataDir, "admin.sock")); err == nil { // made by another goroutine, soon
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			ts.Fatalf("the hub has no socket")
		}
	}
	ts.Setenv("HUB", cfg.DataDir)
	ts.Setenv("HTTPS", cfg.HTTPS[0])
}

// here ARGS... runs a command of isthmus in this process, against the hub of serve unless a connection string is in the environment. It is
// quicker than exec. Files are named by their whole path.
func here(ts *testscript.TestScript, neg bool, args []string) {
	if code := inProcess(ts, ts.Stdout(), ts.Stderr(), args); (code != exitDone) != neg {
		ts.Fatalf("exit code %d", code)
	}
}

// sees REGEXP ARGS... runs a command as here does, again and again until its output matches: somebody else is on the way there.
func sees(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: sees REGEXP ARGS...")
	}
	wanted := regexp.MustCompile(args[0])
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); ; {
		var out, complaints bytes.Buffer
		if code := inProcess(ts, &out, &complaints, args[1:]); code == exitDone && wanted.Match(out.Bytes()) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("it never did: %s%s", &out, &complaints)
		}
	}
}

func inProcess(ts *testscript.TestScript, out, complaints io.Writer, args []string) int {
	w := &world{
		in: strings.NewReader(""), out: &lockedWriter{w: out}, err: &lockedWriter{w: complaints}, clock: clock.System{}, getenv: ts.Getenv,
	}
	far := ts.Getenv(hubEnvironment) + ts.Getenv(dpsEnvironment) + ts.Getenv(eventHubEnvironment) + ts.Getenv(storageEnvironment)
	switch dir := ts.Getenv("HUB"); {
	case far != "":
		args = append(slices.Clone(args), "--address", ts.Getenv("HTTPS"), "--ca", ts.Getenv("CA"))
	case dir != "" && args[0] != "__complete":
		args = append(slices.Clone(args), "--data-dir", dir)
	case dir != "": // what is to be completed stands last
		_, rest, err := newRoot(w).Find(args[1:])
		ts.Check(err)
		args = slices.Insert(slices.Clone(args), len(args)-len(rest), "--data-dir", dir)
	}
	return run(context.Background(), w, args)
}

// played is a device of a script. It does at once whatever it is asked.
type played struct {
	ts      *testscript.TestScript
	session *hub.Session
}

// play DEVICE[/MODULE] connects a device. It answers methods with what it was sent, and status 500 to the method fail; it reports what is
// desired, and completes messages, but rejects those whose body is "no".
func play(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: play DEVICE[/MODULE]")
	}
	h := ts.Value("local").(*local).hub
	ctx := context.Background()
	device, module, _ := strings.Cut(args[0], "/")
	text, err := h.PolicyConnectionString(hub.PolicyDevice)
	ts.Check(err)
	cs, err := sas.ParseConnectionString(text)
	ts.Check(err)
	token, err := sas.Sign(cs.HostName, cs.Key, cs.Policy, time.Now().Add(time.Hour))
	ts.Check(err)
	p := &played{ts: ts}
	side := hub.Side{Peer: netip.MustParseAddrPort("127.0.0.9:4000")}
	p.session, err = h.Connect(ctx, hub.Request{Device: device, Module: module, Token: token, Side: side, Door: "test", Receiver: p, Cut: func(hub.Cause) {}})
	ts.Check(err)
	ts.Defer(p.session.End)
	for _, t := range []hub.Topic{hub.DesiredProperties, hub.Methods, hub.Commands} {
		p.session.Listen(t, true)
	}
}

// DesiredChanged, MethodCalled and CommandsWaiting make it a hub.Receiver.
func (p *played) DesiredChanged(_ int64, patch json.RawMessage) {
	var object map[string]json.RawMessage
	if json.Unmarshal(patch, &object) != nil {
		return
	}
	delete(object, "$version")
	b, _ := json.Marshal(object) // it came from JSON
	p.session.PatchReported(b, func(int64, error) {})
}

func (p *played) MethodCalled(c hub.MethodCall) {
	status := 200
	if c.Name == "fail" {
		status = 500
	}
	p.session.AnswerMethod(c.ID, status, c.Payload)
}

func (p *played) CommandsWaiting() {
	go func() { // it must not wait
		for {
			c, err := p.session.NextCommand(context.Background())
			if err != nil || c == nil {
				return
			}
			settle := p.session.Complete
			if string(c.Body) == "no" {
				settle = p.session.Reject
			}
			settle(c.Lock, func(error) {})
		}
	}()
}

// register ID KEY registers a device of which a script knows the key, and waits until it is done.
func register(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: register ID KEY")
	}
	dps := ts.Value("local").(*local).dps
	ctx := context.Background()
	token, err := sas.Sign(dps.Scope()+"/registrations/"+args[0], args[1], "registration", time.Now().Add(time.Hour))
	ts.Check(err)
	proof := provisioning.Proof{RegistrationID: args[0], Token: token}
	o, err := dps.Register(ctx, proof, provisioning.Registration{})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); err == nil && !o.Done(); {
		select {
		case <-tick.C:
			o, err = dps.Operation(ctx, proof, o.ID)
		case <-end:
			ts.Fatalf("it never ended")
		}
	}
	ts.Check(err)
}

// keep FILE writes what the last command printed into a file.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: keep FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile("stdout")), 0o600))
}

// sign NAME AUTHORITY FILE writes a certificate for a name with its key, signed by an authority: AUTHORITY.pem and AUTHORITY.key, which it makes first.
func sign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: sign NAME AUTHORITY CERTIFICATE")
	}
	cert, key := ts.MkAbs(args[1]+".pem"), ts.MkAbs(args[1]+".key")
	if _, err := os.Stat(cert); err != nil {
		ts.Check(testAuthority(args[1], cert, key))
	}
	ts.Check(testCertificate(args[0], cert, key, ts.MkAbs(args[2])))
}

// testAuthority makes an authority of its own.
func testAuthority(name, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

func testCertificate(name, certFile, keyFile, out string) error {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, pair.Leaf, key.Public(), pair.PrivateKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	return os.WriteFile(out, both, 0o600)
}
