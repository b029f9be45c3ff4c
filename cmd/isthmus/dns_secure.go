package main

import (
	"crypto/tls"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver"
)

// dnsSecure is DNS over TLS and over HTTPS as flags have it.
type dnsSecure struct {
	prefix    string
	tls, http []string
	cert, key string
}

func (d *dnsSecure) addTo(c *cobra.Command, prefix string) {
	d.prefix = prefix
	f := c.Flags()
	f.StringSliceVar(&d.tls, prefix+"tls", nil, "`HOST:PORT` to answer DNS over TLS on, such as 10.7.0.2:853")
	f.StringSliceVar(&d.http, prefix+"https", nil, "`HOST:PORT` to answer DNS over HTTPS on, path /dns-query")
	f.StringVar(&d.cert, prefix+"cert", "", "`FILE` with the certificate chain for --"+prefix+"tls and --"+prefix+"https, PEM; read again when it changes")
	f.StringVar(&d.key, prefix+"key", "", "`FILE` with the key of --"+prefix+"cert, PEM")
}

func (d *dnsSecure) apply(cfg *resolver.Config) error {
	cfg.TLSListen, cfg.HTTPSListen = d.tls, d.http
	if len(d.tls)+len(d.http) == 0 {
		return nil
	}
	if d.cert == "" || d.key == "" {
		return usagef("--%scert or --%skey is missing", d.prefix, d.prefix).advise("DNS over TLS and HTTPS need a certificate that clients trust")
	}
	pair := &keyPair{cert: d.cert, key: d.key}
	if _, err := pair.get(nil); err != nil {
		return err
	}
	cfg.Certificate = pair.get
	return nil
}

// keyPair is a certificate in two files, read again when one of them changes: renewals need no restart.
type keyPair struct {
	cert, key string

	mu      sync.Mutex // guards the fields below
	changed [2]time.Time
	have    *tls.Certificate
}

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var now [2]time.Time
	for i, f := range []string{k.cert, k.key} {
		if info, err := os.Stat(f); err == nil {
			now[i] = info.ModTime()
		}
	}
	if k.have != nil && now == k.changed {
		return k.have, nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		if k.have != nil { // half of a renewal is on the disk
			return k.have, nil
		}
		return nil, fault.Wrap("isthmus.dns", fault.Invalid, err, "the certificate cannot be used: "+err.Error())
	}
	k.have, k.changed = &pair, now
	return k.have, nil
}
