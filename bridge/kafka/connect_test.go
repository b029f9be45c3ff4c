package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/kafka"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestSASL(t *testing.T) {
	for _, c := range []struct {
		sasl, secret string
		told         *kerr.Error // what the cluster says; nil: what the test's does, which ends the connection where Kafka says what is wrong
		kind         fault.Kind
		words        string
	}{
		{"PLAIN", "bridge:pass:word", nil, 0, ""},
		{"SCRAM-SHA-256", "bridge:pass:word", nil, 0, ""},
		{"SCRAM-SHA-512", "bridge:pass:word", nil, 0, ""},
		{"PLAIN", "bridge:hunter2", nil, fault.Unavailable, "ended the connection"},
		{"SCRAM-SHA-512", "nobody:hunter2", nil, fault.Unavailable, "ended the connection"},
		{"PLAIN", "bridge:hunter2", kerr.SaslAuthenticationFailed, fault.Unauthenticated, "password is wrong"},
	} {
		t.Run(c.sasl+" "+c.secret, func(t *testing.T) {
			w := newWorld(t, kfake.EnableSASL(), kfake.Superuser(c.sasl, "bridge", "pass:word"))
			w.end.Secret = c.secret
			if c.told != nil {
				w.Fault(kfake.Fault{Keys: append(kfake.Fault{}.Keys, authenticate), TopLevel: true, Err: c.told, Count: -1})
			}
			err := w.open(resource.KafkaDestination{SASL: c.sasl}).Write(t.Context(), "0", []*event.Event{made(0, "d", "x")})
			if (err == nil) != (c.words == "") || err != nil && (fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) || fault.Next(err) == "") {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the password stands in the error")
			}
		})
	}
	if _, err := kafka.New(bridge.DestinationArgs{End: &end.End{Secret: "hunter2"}, Destination: resource.BridgeDestination{Kafka: &resource.KafkaDestination{SASL: "PLAIN"}}}); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestWithoutSASLWhereItIsAsked(t *testing.T) {
	w := newWorld(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "bridge", "p"))
	err := w.open(resource.KafkaDestination{}).Write(t.Context(), "0", []*event.Event{made(0, "d", "x")})
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Next(err), "SASL") {
		t.Errorf("%v", err)
	}
}

func certificate(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	for name, c := range map[string]struct {
		cert  string
		trust bool
		kind  fault.Kind
	}{
		"the right name": {host, true, 0}, "another name": {"kafka.fabrikam", true, fault.Unavailable}, "nobody we trust": {host, false, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			cert, pool := certificate(t, c.cert)
			w := newWorld(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
			if !c.trust {
				pool = x509.NewCertPool()
			}
			w.end.TLS = &tls.Config{RootCAs: pool}
			err := w.open(resource.KafkaDestination{TLS: true}).Write(t.Context(), "0", []*event.Event{made(0, "d", "x")})
			if (err == nil) != (c.kind == 0) || err != nil && (fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), "does not prove")) {
				t.Errorf("%v", err)
			}
		})
	}
}
