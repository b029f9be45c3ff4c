package membership

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func noun(t *testing.T, text string) resource.Object {
	t.Helper()
	var head struct{ Kind resource.Kind }
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		t.Fatal(err)
	}
	o, _ := resource.New(head.Kind)
	if err := json.Unmarshal([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAMemberFollowsItsPlan(t *testing.T) {
	w := newWorld(t)
	cfg := w.joined(control.JoinAgent)
	r := w.run(cfg)
	first := r.plan(0, nil)
	if first.Self.Agent != "gw-1" || first.Revision == "" {
		t.Fatalf("first plan %+v", first.Self)
	}
	w.network("10.7.0.0/24", "192.168.1.1")
	second := r.plan(0, upstream("192.168.1.1"))
	onDisk, err := Open(cfg, quiet(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := onDisk.Plan(); !ok || p.Revision != second.Revision {
		t.Errorf("the plan on disk is %s, announced was %s", p.Revision, second.Revision)
	}
	if runtime.GOOS != "windows" {
		for _, name := range []string{identityFile, planFile} {
			if fi, err := os.Stat(filepath.Join(cfg.Dir, name)); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, fi.Mode(), err)
			}
		}
		if fi, err := os.Stat(cfg.Dir); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("the directory: %v, %v", fi.Mode(), err)
		}
	}
	if err := r.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestAMemberReports(t *testing.T) {
	w := newWorld(t)
	r := w.run(w.joined(control.JoinAgent))
	problem := "the interface is not there"
	r.Report(func() Report { return Report{Direct: "192.0.2.1:7000", Problems: []string{problem}} })
	w.until(time.Second, "the report arrives", func() bool {
		s := w.agent().Status
		return s.DirectAddress == "192.0.2.1:7000" && s.Version == "1.0" && len(s.Problems) == 1 && s.Problems[0] == problem && s.Connected
	})
	if p, _ := r.Plan(); w.agent().Status.PlanRevision != p.Revision {
		t.Errorf("revision %q reported", w.agent().Status.PlanRevision)
	}
	r.Report(func() Report { return Report{} })
	w.until(time.Second, "the end of the problem is reported", func() bool { return len(w.agent().Status.Problems) == 0 })
	before := w.agent().Status.LastSeen
	w.until(time.Second, "it reports every minute", func() bool { return w.agent().Status.LastSeen.After(before.Add(50 * time.Second)) })
}

func TestThePlanOnDiskIsEnough(t *testing.T) {
	w := newWorld(t)
	cfg := w.joined(control.JoinAgent)
	w.stop()
	r := w.run(cfg)
	if p := r.plan(0, nil); p.Self.Agent != "gw-1" {
		t.Errorf("announced %+v", p.Self)
	}
	if r.Connected() {
		t.Error("connected to nobody")
	}
}

func TestTheStreamComesBackWithoutSpinning(t *testing.T) {
	w := newWorld(t)
	r := w.run(w.joined(control.JoinAgent))
	w.until(time.Second, "connected", r.Connected)
	w.stop()
	w.until(0, "disconnected", func() bool { return !r.Connected() })
	// An hour without a server: at most one attempt per twelve seconds on average (full jitter under a minute, with a floor).
	attempts := 0
	r.caller.mu.Lock()
	dial := r.caller.client
	r.caller.mu.Unlock()
	for range 720 {
		w.clock.Advance(5 * time.Second)
		<-time.After(500 * time.Microsecond)
		r.caller.mu.Lock()
		if r.caller.client != dial { // every failed attempt ends with a redial
			attempts, dial = attempts+1, r.caller.client
		}
		r.caller.mu.Unlock()
	}
	if attempts == 0 || attempts > 300 {
		t.Errorf("%d attempts in an hour", attempts)
	}
	w.start()
	w.until(time.Second, "connected again", r.Connected)
	w.network("10.7.0.0/24", "192.168.1.9")
	r.plan(time.Second, upstream("192.168.1.9"))
	// And while the stream is up, a quiet hour makes few requests.
	before := w.requests.Load()
	for range 720 {
		w.clock.Advance(5 * time.Second)
		<-time.After(500 * time.Microsecond)
	}
	if n := w.requests.Load() - before; n > 400 {
		t.Errorf("%d requests in a quiet hour", n)
	}
}

func TestARemovedMemberStops(t *testing.T) {
	w := newWorld(t)
	cfg := w.joined(control.JoinAgent)
	r := w.run(cfg)
	w.network("10.7.0.0/24", "192.168.1.1")
	r.plan(time.Second, upstream("192.168.1.1"))
	if err := w.control.Delete(t.Context(), w.admin, w.agent().Key(), "gone"); err != nil {
		t.Fatal(err)
	}
	p := r.plan(time.Second, nil)
	if len(p.Upstreams) != 0 || p.Self.Agent != "gw-1" {
		t.Errorf("announced %+v", p)
	}
	err := <-r.done
	kindIs(t, "Run", err, fault.Denied)
	if fault.Next(err) == "" {
		t.Error("no advice")
	}
	again, err := Open(cfg, quiet(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := again.Plan(); len(p.Upstreams) != 0 {
		t.Error("the old plan is still on disk")
	}
}

func TestRenewal(t *testing.T) {
	w := newWorld(t)
	cfg := w.joined(control.JoinAgent)
	r := w.run(cfg)
	w.until(time.Second, "connected", r.Connected)
	first := r.Credentials().Leaf()
	for range 4 { // each after a third of a day, give or take a tenth of that
		before := r.Credentials().Leaf()
		w.clock.Advance(7 * time.Hour)
		if due := renewAt(before); due.Before(w.clock.Now()) || due.After(w.clock.Now().Add(2*time.Hour)) {
			t.Errorf("due %s from now", due.Sub(w.clock.Now()))
		}
		w.clock.Advance(2 * time.Hour)
		w.until(time.Second, "renewed", func() bool { return r.Credentials().Leaf().SerialNumber.Cmp(before.SerialNumber) != 0 })
		if bytes.Equal(before.RawSubjectPublicKeyInfo, r.Credentials().Leaf().RawSubjectPublicKeyInfo) {
			t.Error("the key is the old one")
		}
	}
	if !w.clock.Now().After(first.NotAfter) {
		t.Fatal("the first certificate is still good")
	}
	w.network("10.7.0.0/24", "192.168.1.1")
	r.plan(time.Second, upstream("192.168.1.1"))
	w.until(0, "on disk", func() bool {
		m, err := Open(cfg, quiet(), w.clock)
		return err == nil && m.Credentials().Leaf().SerialNumber.Cmp(r.Credentials().Leaf().SerialNumber) == 0
	})
}

func TestAfterAWeekWithoutAServerItRenewsByItself(t *testing.T) {
	w := newWorld(t)
	cfg := w.joined(control.JoinAgent)
	w.stop()
	w.clock.Advance(7 * 24 * time.Hour)
	r := w.run(cfg)
	r.plan(0, nil)
	w.until(time.Second, "it noticed", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.problems["control"] != ""
	})
	w.start()
	w.until(10*time.Second, "connected again", r.Connected)
	if !w.clock.Now().Before(r.Credentials().Leaf().NotAfter) {
		t.Error("connected with a certificate that lapsed")
	}
}

func TestAFullDiskKeepsTheOldPlan(t *testing.T) {
	w := newWorld(t)
	cfg := w.joined(control.JoinAgent)
	full := make(chan bool, 1)
	full <- false
	cfg.write = func(path string, content []byte) error {
		f := <-full
		full <- f
		if f {
			return &os.PathError{Op: "write", Path: path, Err: errNoSpace}
		}
		return keepfile.Write(path, content)
	}
	r := w.run(cfg)
	w.until(time.Second, "connected", r.Connected)
	before, err := os.ReadFile(filepath.Join(cfg.Dir, planFile))
	if err != nil {
		t.Fatal(err)
	}
	<-full
	full <- true
	w.network("10.7.0.0/24", "192.168.1.1")
	// It may take a permission away, so it is announced although it cannot be kept.
	fresh := r.plan(time.Second, upstream("192.168.1.1"))
	after, err := os.ReadFile(filepath.Join(cfg.Dir, planFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the plan on disk changed: %v", err)
	}
	w.until(time.Second, "the report says so", func() bool {
		s := w.agent().Status
		return len(s.Problems) == 1 && strings.Contains(s.Problems[0], "no space left")
	})
	<-full
	full <- false
	w.until(time.Second, "it is kept once there is room", func() bool {
		m, err := Open(cfg, quiet(), w.clock)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := m.Plan()
		return p.Revision == fresh.Revision
	})
	w.until(time.Second, "and the problem is over", func() bool { return len(w.agent().Status.Problems) == 0 })
}

func TestServingCertificate(t *testing.T) {
	w := newWorld(t)
	cfg := w.joined(control.JoinHub)
	w.apply(`{"kind":"Service","metadata":{"tenant":"ot","network":"plant-7","name":"contoso"},"spec":{"type":"iothub",
		"hostName":"contoso.azure-devices.net","target":"127.0.0.1","servedBy":"hub-1","proxyProtocol":true}}`)
	r := w.run(cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	get, err := r.ServingCertificate(ctx, []string{"Contoso.azure-devices.net"})
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *x509.Certificate {
		c, err := get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf
	}
	first := leaf(get)
	if _, err := first.Verify(x509.VerifyOptions{DNSName: "contoso.azure-devices.net", Roots: r.Credentials().Roots(), CurrentTime: w.clock.Now()}); err != nil {
		t.Error(err)
	}
	_, err = r.ServingCertificate(ctx, []string{"fabrikam.azure-devices.net"})
	kindIs(t, "somebody else's name", err, fault.Denied)
	_, err = r.ServingCertificate(ctx, nil)
	kindIs(t, "no name", err, fault.Invalid)
	w.clock.Advance(9 * time.Hour) // a third of a day, and a tenth of that
	w.until(time.Second, "renewed", func() bool { return leaf(get).SerialNumber.Cmp(first.SerialNumber) != 0 })
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	// After a restart the disk is enough.
	w.stop()
	again, err := Open(cfg, quiet(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := again.ServingCertificate(ctx, []string{"contoso.azure-devices.net"})
	if err != nil {
		t.Fatal(err)
	}
	if leaf(kept).SerialNumber.Cmp(leaf(get).SerialNumber) != 0 {
		t.Error("another certificate than the renewed one")
	}
}

func TestForeignAndUnreadablePlansAreNotCarriedOut(t *testing.T) {
	w := newWorld(t)
	m, err := Open(w.joined(control.JoinAgent), quiet(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := json.Marshal(plan.Plan{Self: plan.Self{ID: "spiffe://isthmus.local/tenant/it/network/x/agent/y"}}.Seal())
	unsealed, _ := json.Marshal(plan.Plan{Self: plan.Self{ID: string(m.Credentials().ID())}})
	for name, line := range map[string][]byte{"foreign": foreign, "without a revision": unsealed, "no JSON": []byte("{"), "null": []byte("null")} {
		_, _, err := m.read(&plan.Reader{}, line)
		kindIs(t, name, err, fault.Invalid)
	}
	ours, _ := json.Marshal(plan.Plan{Self: plan.Self{ID: string(m.Credentials().ID())}}.Seal())
	if _, _, err := m.read(&plan.Reader{}, ours); err != nil {
		t.Error(err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	cfg := w.joined(control.JoinAgent)
	_, err := Open(Config{}, quiet(), w.clock)
	kindIs(t, "no directory", err, fault.Invalid)
	_, err = Open(Config{Dir: t.TempDir()}, quiet(), w.clock)
	kindIs(t, "never joined", err, fault.NotFound)
	path := filepath.Join(cfg.Dir, planFile)
	if err := os.WriteFile(path, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Open(cfg, quiet(), w.clock)
	if err != nil {
		t.Fatalf("a damaged plan keeps a member from starting: %v", err)
	}
	if _, ok := m.Plan(); ok {
		t.Error("a damaged plan is a plan")
	}
	for name, content := range map[string]string{"cut short": `{"id":"spiffe`, "empty": "", "no key": `{"id":"spiffe://a/tenant/b/network/c/agent/d"}`} {
		if err := os.WriteFile(filepath.Join(cfg.Dir, identityFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Open(cfg, quiet(), w.clock)
		kindIs(t, "identity "+name, err, fault.Invalid)
		if fault.Next(err) == "" {
			t.Errorf("identity %s: no advice", name)
		}
	}
}
