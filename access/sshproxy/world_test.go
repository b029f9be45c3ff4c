package sshproxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/access/sshca/sshdtest"
	"github.com/isthmus-io/isthmus/access/sshproxy"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a machine with a real sshd, a Proxy before it, and a person who may come to it.
type world struct {
	t       testing.TB
	ca      *sshca.Authority
	hosts   *sshca.Authority
	sshd    *sshdtest.Server
	dir     string // of the proxy
	private string // of recordings
	cfg     sshproxy.Config
	session gate.Session
	proxy   *sshproxy.Proxy
	address *net.TCPAddr
	id      string // the person's key
	key     ssh.PublicKey
	journal *journal
	ends    chan end
	cut     context.CancelFunc // of all sessions, as a gate does

	received atomic.Int64 // bytes from the machine

	mu       sync.Mutex // guards the fields below
	away     error      // the control plane is not there, or says no
	asked    int        // certificates it was asked for
	sessions int
}

// end is what Serve returned.
type end struct {
	out gate.Outcome
	err error
}

// counted counts what it reads.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// journal keeps recordings in files.
type journal struct {
	dir  string
	mu   sync.Mutex // guards room
	room int        // bytes; negative: no bound
	none error
}

func (j *journal) Recording(session string) (io.WriteCloser, error) {
	if j.none != nil {
		return nil, j.none
	}
	f, err := os.Create(filepath.Join(j.dir, session))
	return &bounded{f, j}, err
}

type bounded struct {
	*os.File
	j *journal
}

func (b *bounded) Write(p []byte) (int, error) {
	b.j.mu.Lock()
	defer b.j.mu.Unlock()
	if b.j.room >= 0 {
		if b.j.room -= len(p); b.j.room < 0 {
			b.j.room = 0
			return 0, errors.New("no space left on device")
		}
	}
	return b.File.Write(p)
}

func authority(t testing.TB) *sshca.Authority {
	t.Helper()
	_, private, err := sshca.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	a, err := sshca.Load(private)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newWorld makes a world; change may alter it before it starts.
func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, ca: authority(t), hosts: authority(t), dir: t.TempDir(), ends: make(chan end, 64)}
	w.sshd = sshdtest.Start(t, []string{w.ca.Public()})
	w.id, w.key = sshdtest.Key(t)
	w.journal = &journal{dir: t.TempDir(), room: -1}
	public, private, err := recording.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	w.private = private
	w.cfg = sshproxy.Config{Certify: w.certify, HostCertify: w.certifyHost, Journal: w.journal, Dir: w.dir}
	w.session = gate.Session{
		Target: plan.Target{
			ID: "target-uid", Name: "ot/plant-7/press-4-ssh", Protocol: "ssh", Address: w.sshd.Address.String(),
			Record: &plan.Recording{Recipients: []string{public}, UserCA: w.ca.Public()},
		},
		Grant: plan.Grant{ID: "3f2a", Name: "alice of ot"},
	}
	for _, c := range change {
		c(w)
	}
	w.serve(sshproxy.New(w.cfg, slog.New(slog.DiscardHandler), clock.System{}))
	return w
}

// serve lets people come to a proxy, as a gate does.
func (w *world) serve(p *sshproxy.Proxy) {
	w.t.Helper()
	w.proxy = p
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.address = l.Addr().(*net.TCPAddr)
	ctx, cancel := context.WithCancel(w.t.Context())
	w.cut = cancel
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			person, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			machine, err := net.Dial("tcp", w.sshd.Address.String())
			w.mu.Unlock()
			if err != nil {
				w.t.Error(err)
				person.Close()
				return
			}
			wg.Go(func() {
				out, err := p.Serve(ctx, w.next(), person, &counted{machine, &w.received})
				w.ends <- end{out, err}
			})
		}
	})
	w.t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
}

// set changes what sessions look at.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) next() gate.Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions++
	s := w.session
	record := *s.Target.Record
	s.Target.Record = &record
	s.ID = strings.Repeat("0", 24) + strconv.Itoa(10_000_000+w.sessions)
	s.Opened = time.Now()
	return s
}

func (w *world) certify(_ context.Context, r sshproxy.CertifyRequest) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.away != nil {
		return "", w.away
	}
	key, err := sshca.ParseKey(r.PublicKey)
	if err != nil {
		return "", err
	}
	now := time.Now()
	return w.ca.User(key, sshca.UserCertificate{
		ID: "alice of ot grant " + r.Grant + " session " + r.Session, Principals: []string{r.Login}, From: now, Until: now.Add(time.Hour), PTY: true, Forwarding: true,
	})
}

func (w *world) certifyHost(_ context.Context, r sshproxy.HostCertifyRequest) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away != nil {
		return "", w.away
	}
	key, err := sshca.ParseKey(r.PublicKey)
	if err != nil {
		return "", err
	}
	now := time.Now()
	return w.hosts.Host(key, []string{"press-4"}, now, now.Add(time.Hour))
}

// pass is what the control plane gives the person.
func (w *world) pass() sshca.UserCertificate {
	now := time.Now()
	return sshca.UserCertificate{
		ID: "alice of ot grant 3f2a", Principals: []string{w.sshd.Login}, From: now, Until: now.Add(time.Hour), PTY: true, Forwarding: true,
	}
}

// options are those of ssh, scp and sftp to the proxy with a certificate, knowing nothing but the host authority.
func (w *world) options(by *sshca.Authority, c sshca.UserCertificate) []string {
	w.t.Helper()
	line, err := by.User(w.key, c)
	if err != nil {
		w.t.Fatal(err)
	}
	known := w.sshd.Write(w.t, "known_hosts", "@cert-authority * "+w.hosts.Public()+"\n")
	return append(sshdtest.Options(w.address, known, w.id, w.sshd.Write(w.t, "id-cert.pub", line+"\n")), "-o", "HostKeyAlias=press-4")
}

// where is the account at the proxy.
func (w *world) where() string { return w.sshd.Login + "@127.0.0.1" }

// ssh runs a program of OpenSSH as the person: its arguments follow the options.
func (w *world) run(program string, arguments ...string) (string, error) {
	w.t.Helper()
	return sshdtest.Try(w.t, program, append(w.options(w.ca, w.pass()), arguments...)...)
}

// ended returns how the next session ended.
func (w *world) ended() end {
	w.t.Helper()
	select {
	case e := <-w.ends:
		return e
	case <-time.After(20 * time.Second):
		w.t.Fatal("the session did not end")
		return end{}
	}
}

// tape is a recording's text.
func (w *world) tape(name string) string {
	w.t.Helper()
	f, err := os.Open(filepath.Join(w.journal.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	r, err := recording.Open(f, w.private)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if !r.Whole() {
		w.t.Error("the recording is not whole")
	}
	return string(text)
}

// data is all that a recording's events of one kind hold, of all terminals.
func data(t testing.TB, tape string, kind recording.Kind) string {
	t.Helper()
	events, err := recording.NewEvents(strings.NewReader(tape))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == kind {
			b.WriteString(e.Data)
			if kind == recording.Marker || kind == recording.Resized {
				b.WriteString("\n")
			}
		}
	}
}

// replayed is what a recording shows.
func replayed(t testing.TB, tape string, opt recording.Options) string {
	t.Helper()
	opt.Raw = true
	var out bytes.Buffer
	if err := recording.Replay(t.Context(), strings.NewReader(tape), &out, opt, clock.System{}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// client is a person's program that is not OpenSSH's.
func (w *world) client(c sshca.UserCertificate) *ssh.Client {
	w.t.Helper()
	private, err := os.ReadFile(w.id)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	line, err := w.ca.User(w.key, c)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		w.t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(cert.(*ssh.Certificate), key)
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := ssh.Dial("tcp", w.address.String(), &ssh.ClientConfig{
		User: w.sshd.Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { client.Close() })
	return client
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

var errAway = fault.New("test", fault.Unavailable, "the control plane cannot be reached")
