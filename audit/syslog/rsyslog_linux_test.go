package syslog_test

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/audit/syslog"
	"github.com/isthmus-io/isthmus/clock"
)

// What rsyslog understood of each message goes into a pipe, field by field.
const rsyslogConf = `
global(workDirectory="%[1]s" maxMessageSize="64k" processInternalMessages="on" defaultNetstreamDriverCAFile="%[1]s/ca.pem"
       defaultNetstreamDriverCertFile="%[1]s/cert.pem" defaultNetstreamDriverKeyFile="%[1]s/key.pem")
module(load="imudp")
module(load="imptcp")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
module(load="imuxsock" SysSock.Use="off")
template(name="fields" type="string" string="%%syslogfacility%%\t%%syslogseverity%%\t%%timestamp:::date-rfc3339%%\t%%hostname%%\t%%app-name%%\t%%msgid%%\t%%structured-data%%\t%%msg%%\n")
ruleset(name="told") { action(type="ompipe" pipe="%[1]s/told" template="fields") }
input(type="imudp" address="127.0.0.1" port="%[2]d" ruleset="told")
input(type="imptcp" address="127.0.0.1" port="%[3]d" ruleset="told")
input(type="imtcp" address="127.0.0.1" port="%[4]d" ruleset="told")
input(type="imuxsock" Socket="%[1]s/log" UseSpecialParser="off" UseSysTimeStamp="off" IgnoreTimestamp="off" ruleset="told")
*.* action(type="ompipe" pipe="%[1]s/told" template="fields")
`

// startRsyslog starts it and returns where it listens, its authority and the lines it tells.
func startRsyslog(t *testing.T) (to map[string]string, roots *x509.CertPool, lines *bufio.Reader) {
	t.Helper()
	path, err := exec.LookPath("rsyslogd")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/rsyslogd"); err != nil {
			t.Fatal("rsyslogd is not installed: make deps, or apt-get install rsyslog rsyslog-gnutls")
		}
	}
	dir := t.TempDir()
	a, cert := serving(t, "127.0.0.1")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	udp, tcp, secure := freePort(t), freePort(t), freePort(t)
	for name, content := range map[string][]byte{
		"rsyslog.conf": fmt.Appendf(nil, rsyslogConf, dir, udp, tcp, secure),
		"ca.pem":       a.CertificatePEM(),
		"cert.pem":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		"key.pem":      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	told := filepath.Join(dir, "told")
	if err := syscall.Mkfifo(told, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(told, os.O_RDWR, 0) // also for writing, so that opening does not wait and reading has no end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	var said bytes.Buffer
	cmd := exec.Command(path, "-n", "-f", filepath.Join(dir, "rsyslog.conf"), "-i", filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("rsyslogd said:\n%s", said.String())
		}
	})
	if err := pipe.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	lines = bufio.NewReader(pipe)
	for line := ""; !strings.Contains(line, "start"); { // its own first words
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatalf("rsyslogd does not start: %v\n%s", err, said.String())
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CertificatePEM())
	return map[string]string{
		"udp": fmt.Sprintf("udp://127.0.0.1:%d", udp), "tcp": fmt.Sprintf("tcp://127.0.0.1:%d", tcp), "tls": fmt.Sprintf("tls://127.0.0.1:%d", secure),
		"unix": "unix:" + filepath.Join(dir, "log"),
	}, roots, lines
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A real collector reads every field as it was meant, over every way there is.
func TestRsyslogReadsIt(t *testing.T) {
	to, roots, lines := startRsyslog(t)
	for _, way := range []string{"udp", "tcp", "tls", "unix"} {
		t.Run(way, func(t *testing.T) {
			d, err := syslog.ParseDestination(to[way])
			if err != nil {
				t.Fatal(err)
			}
			c := syslog.New(d, syslog.Config{Roots: roots}, clock.System{})
			f := syslog.Format{Host: "isthmus.test", Limit: c.Limit()}
			records := []audit.Record{
				record(t, nil),
				record(t, func(r *audit.Record) { r.Operation, r.Who = "break-glass", `"]\ Ödön	x`+"\n<13>1 - - - - - -" }),
				record(t, func(r *audit.Record) { r.Operation, r.After = "denied", nil }),
			}
			for _, r := range records {
				if err := c.Send(t.Context(), f.Record(nil, &r)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			for i, r := range records {
				line, err := lines.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				m, err := parse(string(f.Record(nil, &r)))
				if err != nil {
					t.Fatal(err)
				}
				sent := string(f.Record(nil, &r))
				data := sent[strings.Index(sent, "[") : strings.Index(sent, "] \uFEFF")+1]
				want := strings.Join([]string{"13", fmt.Sprint(m.severity), "2026-11-22T08:00:00.123456Z", "isthmus.test", "isthmus", r.Operation, data, m.text}, "\t")
				got := strings.Replace(strings.TrimSuffix(line, "\n"), "\t\uFEFF", "\t", 1)
				if strings.Replace(got, "+00:00", "Z", 1) != want {
					t.Errorf("record %d:\ngot  %q\nwant %q", i, got, want)
				}
			}
		})
	}
}
