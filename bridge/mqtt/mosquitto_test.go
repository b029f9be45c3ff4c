package mqtt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// mosquitto runs Debian's broker with a configuration, and gives its address.
func mosquitto(t *testing.T, config string) string {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(file, []byte("listener "+port+" 127.0.0.1\nuser root\nmax_queued_messages 0\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "-c", file)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- c.Wait() }()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-exited
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for end := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return address
		}
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("mosquitto ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatalf("mosquitto does not listen: %v", err)
		}
	}
}

// subscribed runs mosquitto_sub to its end.
func subscribed(t *testing.T, address string, args ...string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, "mosquitto_sub", append([]string{"-h", host, "-p", port, "-V", "5", "-q", "1"}, args...)...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestMosquittoTakesEvents(t *testing.T) {
	address := mosquitto(t, "allow_anonymous true\n")
	d := open(t, leads(t, address), resource.MQTTDestination{Topic: "plant/{device}/t", Retain: true}, nil)
	e := made(7, "press/7 ü", `{"temperature":21.5}`)
	e.System = append(e.System, event.Property{Name: event.ContentType, Value: "application/json"})
	e.Properties = []event.Property{{Name: "line", Value: int64(3)}, {Name: "bad\x00", Value: "a\x01b\xff"}, {Name: event.OriginProperty, Value: "forged"}}
	e.Repeat = true
	hostile := made(8, "+/#/$SYS\x00\x7f\u2028\ufffe", "second")
	if err := d.Write(t.Context(), "0", []*event.Event{e, hostile}); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(subscribed(t, address, "-C", "2", "-t", "#", "-F", "%t|%C|%P|%p")), "\n")
	slices.Sort(got)
	want := []string{
		"plant/%2B%2F%23%2F%24SYS%00%7F%E2%80%A8%EF%BF%BE/t||iothub-connection-device-id:+/#/$SYS\ufffd\ufffd\u2028\ufffd isthmus-origin:b1/0/8|second",
		"plant/press%2F7 ü/t|application/json|iothub-connection-device-id:press/7 ü line:3 bad\ufffd:a\ufffdb\ufffd isthmus-origin:b1/0/7 isthmus-repeat:true|{\"temperature\":21.5}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestMosquittoGetsAllInOrder(t *testing.T) {
	address := mosquitto(t, "allow_anonymous true\n")
	session := []string{"-c", "-i", "reader", "-t", "plant/#"}
	subscribed(t, address, append(session, "-E")...)
	d := open(t, leads(t, address), spec, nil)
	const n = 3000
	all := batchOf(n)
	for i := 0; i < n; i += 500 {
		if err := d.Write(t.Context(), "0", all[i:i+500]); err != nil {
			t.Fatal(err)
		}
	}
	for i, line := range strings.Split(strings.TrimSpace(subscribed(t, address, append(session, "-C", fmt.Sprint(n))...)), "\n") {
		if line != fmt.Sprint(i) {
			t.Fatalf("%s is in place %d", line, i)
		}
	}
}

func TestMosquittoAsksForAPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", file, "bridge", "pass:word").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rights := filepath.Join(t.TempDir(), "rights")
	if err := os.WriteFile(rights, []byte("user bridge\ntopic write plant/d0\ntopic write plant/d1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := mosquitto(t, "allow_anonymous false\npassword_file "+file+"\nacl_file "+rights+"\n")
	for secret, kind := range map[string]fault.Kind{"bridge:hunter2": fault.Denied, "": fault.Denied, "bridge:pass:word": 0} {
		e := leads(t, address)
		e.Secret = secret
		err := open(t, e, spec, nil).Write(t.Context(), "0", batchOf(2))
		if (err == nil) != (kind == 0) || err != nil && (fault.KindOf(err) != kind || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%q: %v", secret, err)
		}
	}
	e := leads(t, address)
	e.Secret = "bridge:pass:word"
	if err := open(t, e, spec, nil).Write(t.Context(), "0", batchOf(3)); fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), "publish") {
		t.Errorf("a topic without the right: %v", err)
	}
}

func TestMosquittoWithTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"broker.contoso"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := mosquitto(t, "allow_anonymous true\ncertfile "+dir+"/cert\nkeyfile "+dir+"/key\n")
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	s := spec
	s.TLS = true
	e := leads(t, address)
	e.TLS = &tls.Config{RootCAs: pool}
	if err := open(t, e, s, nil).Write(t.Context(), "0", batchOf(3)); err != nil {
		t.Error(err)
	}
	e.HostName = "broker.fabrikam"
	if err := open(t, e, s, nil).Write(t.Context(), "0", batchOf(3)); err == nil || !strings.Contains(fault.Message(err), "does not prove to be broker.fabrikam") {
		t.Errorf("%v", err)
	}
	if err := open(t, e, spec, nil).Write(t.Context(), "0", batchOf(3)); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Next(err), "tls") {
		t.Errorf("without TLS: %v", err)
	}
}
