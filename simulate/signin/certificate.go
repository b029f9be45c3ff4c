package signin

import (
	"context"
	"crypto/tls"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/connection"
	"github.com/isthmus-io/isthmus/simulate/settings"
)

const placeholder = "{device}"

// certificates reads a device's files for each of its connections: thousands of keys in memory would cost more.
type certificates struct {
	cert, key string
	devices   []string
	keepAlive uint16
	shared    *tls.Certificate // when all devices have one
}

func newCertificates(s *settings.Settings) *certificates {
	return &certificates{cert: s.CertificateFile, key: s.CertificateKeyFile, devices: s.Devices, keepAlive: uint16(s.KeepAlive / time.Second)}
}

// Prepare reads every file once.
func (c *certificates) Prepare(ctx context.Context) error {
	if !strings.Contains(c.cert+c.key, placeholder) {
		pair, err := c.load("")
		c.shared = pair
		return err
	}
	for _, id := range c.devices {
		if _, err := c.load(id); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (c *certificates) load(device string) (*tls.Certificate, error) {
	cert, key := strings.ReplaceAll(c.cert, placeholder, device), strings.ReplaceAll(c.key, placeholder, device)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fault.Newf("signin.load", fault.Invalid, "CertificateFile: %s and its key %s cannot be used: %v", cert, key, err).
			Advise("both are PEM; the key belongs to the certificate and has no password").Because(err)
	}
	return &pair, nil
}

// of returns a device's certificate.
func (c *certificates) of(device string) (*tls.Certificate, error) {
	if c.shared != nil {
		return c.shared, nil
	}
	return c.load(device)
}

// Hello implements [Method].
func (c *certificates) Hello(device string) (connection.Hello, time.Time, error) {
	pair, err := c.of(device)
	if err != nil {
		return connection.Hello{}, time.Time{}, err
	}
	return connection.Hello{Device: device, Certificate: pair, KeepAlive: c.keepAlive}, time.Time{}, nil
}
