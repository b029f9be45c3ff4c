package hubtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Certificate makes a certificate with a key of its own, for a day, whose common name is name: signed by the last of by, or by itself when
// there is none, and followed by them in its chain. ca is for one that signs others.
func (w *World) Certificate(name string, ca bool, by ...tls.Certificate) tls.Certificate {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(w.t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(w.t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: ca, BasicConstraintsValid: true,
	}
	parent, signer := template, any(key)
	if len(by) > 0 {
		parent, signer = by[len(by)-1].Leaf, by[len(by)-1].PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(w.t, err)
	leaf, err := x509.ParseCertificate(der)
	must(w.t, err)
	out := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	for i := len(by) - 1; i >= 0; i-- {
		out.Certificate = append(out.Certificate, by[i].Certificate[0])
	}
	return out
}

// PEM writes a certificate with its chain, and its key, to two files, as programs want them.
func (w *World) PEM(c tls.Certificate) (certificate, key string) {
	w.t.Helper()
	var chain bytes.Buffer
	for _, der := range c.Certificate {
		must(w.t, pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	must(w.t, err)
	dir := w.t.TempDir()
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	must(w.t, os.WriteFile(certificate, chain.Bytes(), 0o600))
	must(w.t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return certificate, key
}

// Thumbprint is a certificate's SHA-256 as the registry has it.
func Thumbprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// ThumbprintDevice creates a device that proves itself with the certificate.
func (w *World) ThumbprintDevice(host, id string, c tls.Certificate) hub.Device {
	w.t.Helper()
	d, err := w.Hub(host).CreateDevice(context.Background(), hubstore.Device{ID: id, AuthType: hub.AuthSelfSigned, PrimaryThumbprint: Thumbprint(c)})
	must(w.t, err)
	return d
}

// Trust makes the hub trust an authority, as one whose owner has proved that it is his.
func (w *World) Trust(host, name string, authority tls.Certificate) {
	w.t.Helper()
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate[0]}))
	_, err := w.Hub(host).AddAuthority(context.Background(), name, text, true)
	must(w.t, err)
}

// AuthorityDevice creates a device that proves itself with a certificate of a trusted authority.
func (w *World) AuthorityDevice(host, id string) hub.Device {
	w.t.Helper()
	d, err := w.Hub(host).CreateDevice(context.Background(), hubstore.Device{ID: id, AuthType: hub.AuthCertificateAuthority})
	must(w.t, err)
	return d
}

// Module creates a module with made keys.
func (w *World) Module(host, device, id string) hub.Device {
	w.t.Helper()
	d, err := w.Hub(host).CreateDevice(context.Background(), hubstore.Device{ID: device, Module: id})
	must(w.t, err)
	return d
}

// ModuleToken makes a token of a module for an hour.
func (w *World) ModuleToken(host string, m hub.Device) string {
	w.t.Helper()
	text, err := sas.Sign(host+"/devices/"+m.ID+"/modules/"+m.Module, m.PrimaryKey, "", time.Now().Add(time.Hour))
	must(w.t, err)
	return text
}

// DialWith is Dial with a client certificate.
func (w *World) DialWith(address, serverName string, c tls.Certificate) (*tls.Conn, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: w.Roots, ServerName: serverName, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c}})
	if err := conn.Handshake(); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}
