package main

import (
	"crypto/x509"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

// The environment may hold connection strings, for those who keep no file.
const (
	hubEnvironment = "ISTHMUS_HUB_CONNECTION_STRING"
	dpsEnvironment = "ISTHMUS_DPS_CONNECTION_STRING"
)

// ways is the flags that say by which way a service of a hub process is reached.
type ways struct {
	w       *world
	process process
	given   func() bool // --data-dir
	env     string
	file    string
	address string
	ca      string
}

func (a *ways) addTo(w *world, c *cobra.Command, env string) {
	a.w, a.env = w, env
	a.process.addDir(c, "hub")
	f := c.Flags()
	f.Lookup("data-dir").Usage = "`DIR` of a hub process on this machine"
	a.given = func() bool { return f.Changed("data-dir") }
	f.StringVar(&a.file, "connection-file", "", "`FILE` with a policy's connection string, instead of "+env)
	f.StringVar(&a.address, "address", "", "`HOST:PORT` to dial instead of the connection string's host")
	f.StringVar(&a.ca, "ca", "", "`FILE` with the authority to trust, instead of this machine's")
}

// connection chooses the way: what the command line says, then the environment, then, which is ok being false, a hub process on this machine.
func (a *ways) connection() (cs sas.ConnectionString, ok bool, err error) {
	text := a.w.getenv(a.env)
	switch {
	case a.file != "":
		b, err := os.ReadFile(a.file)
		if err != nil {
			return cs, false, fault.Wrap("isthmus.connection", fault.Invalid, err, "the connection string cannot be read: "+err.Error())
		}
		text = string(b)
	case a.given():
		text = ""
	}
	if text == "" {
		return cs, false, nil
	}
	cs, err = sas.ParseConnectionString(text)
	return cs, true, err
}

// roots is what --ca names, nil for this machine's.
func (a *ways) roots() (*x509.CertPool, error) {
	if a.ca == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(a.ca)
	if err != nil {
		return nil, fault.Wrap("isthmus.roots", fault.Invalid, err, "the authority cannot be read: "+err.Error())
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.Newf("isthmus.roots", fault.Invalid, "%s holds no certificate", a.ca)
	}
	return pool, nil
}

// socket is the local one of the hub process, which has to be there.
func (a *ways) socket() (string, error) {
	socket := hubclient.Socket(a.process.dataDir)
	if _, err := os.Stat(socket); err != nil {
		return "", fault.Newf("isthmus.socket", fault.Unavailable, "no hub runs here with data directory %s", filepath.Clean(a.process.dataDir)).
			Advise("name the one of a running hub with --data-dir, or give a connection string with --connection-file or in %s", a.env)
	}
	return socket, nil
}

// hubAccess is the flags that say which hub, and by which way.
type hubAccess struct {
	ways
	hub string
}

func addHubAccess(w *world, c *cobra.Command) *hubAccess {
	a := &hubAccess{}
	a.addTo(w, c, hubEnvironment)
	c.Flags().StringVar(&a.hub, "hub", "", "`NAME` of the hub (or its host name), where one process serves several")
	return a
}

func (a *hubAccess) open() (*hubclient.Client, error) {
	cs, far, err := a.connection()
	switch {
	case err != nil:
		return nil, err
	case !far:
		return a.openSocket()
	}
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	return hubclient.New(hubclient.Config{Connection: cs, Address: a.address, Roots: roots}, a.w.clock)
}

func (a *hubAccess) openSocket() (*hubclient.Client, error) {
	socket, err := a.socket()
	if err != nil {
		return nil, err
	}
	return hubclient.New(hubclient.Config{Socket: socket, Hub: a.hub}, a.w.clock)
}

// dpsAccess is the flags that say which provisioning service, and by which way.
type dpsAccess struct {
	ways
	service string
}

func addDPSAccess(w *world, c *cobra.Command) *dpsAccess {
	a := &dpsAccess{}
	a.addTo(w, c, dpsEnvironment)
	c.Flags().StringVar(&a.service, "service", "", "`NAME` of the provisioning service (or its host name or id scope), where one process serves several")
	return a
}

func (a *dpsAccess) open() (*provisioningclient.Client, error) {
	cs, far, err := a.connection()
	switch {
	case err != nil:
		return nil, err
	case !far:
		return a.openSocket()
	}
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	return provisioningclient.New(provisioningclient.Config{Connection: cs, Address: a.address, Roots: roots}, a.w.clock)
}

func (a *dpsAccess) openSocket() (*provisioningclient.Client, error) {
	socket, err := a.socket()
	if err != nil {
		return nil, err
	}
	return provisioningclient.New(provisioningclient.Config{Socket: socket, Service: a.service}, a.w.clock)
}
