package storagetest

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/storage/httpdoor"
)

// Options says what a world is. The zero value works.
type Options struct {
	Config storage.Config // Dir is a temporary folder when empty
	Spec   storage.Spec   // ID, Name and HostNames have values when empty
	Clock  clock.Clock    // the system's
	Quiet  bool           // no sweeps in the background
	// Arrive changes how requests arrive. May be nil.
	Arrive func(*http.Request, *httpdoor.Arrival) error
}

// World is a blob service that runs.
type World struct {
	Server  *storage.Server
	Account *storage.Account
	Door    http.Handler
	HTTP    *httptest.Server // TLS, with a certificate for 127.0.0.1 and *.example.com
	CA      string           // file with that certificate
	Dir     string
	spec    storage.Spec
	config  storage.Config
	clock   clock.Clock
	end     func()
}

// Start runs a blob service until the test ends.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	w := &World{Dir: o.Config.Dir, spec: o.Spec, config: o.Config, clock: o.Clock}
	if w.Dir == "" {
		w.Dir = t.TempDir()
		w.config.Dir = w.Dir
	}
	if w.clock == nil {
		w.clock = clock.System{}
	}
	if w.spec.ID == "" {
		w.spec.ID, w.spec.Name = "account-1", "ot/ot-cloud/lake"
	}
	if len(w.spec.HostNames) == 0 {
		w.spec.HostNames = []string{"lake.example.com", "127.0.0.1"}
	}
	w.open(t, o.Quiet)
	t.Cleanup(func() { w.end() })
	w.HTTP = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.Door.ServeHTTP(rw, r) }))
	w.HTTP.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	w.Door = httpdoor.New(httpdoor.Config{Arrive: func(r *http.Request) (httpdoor.Arrival, error) {
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		a := httpdoor.Arrival{Account: w.Account, Peer: from.Addr()}
		if o.Arrive != nil {
			if err := o.Arrive(r, &a); err != nil {
				return a, err
			}
		}
		return a, nil
	}}, slog.New(slog.DiscardHandler), w.clock)
	w.HTTP.StartTLS()
	t.Cleanup(w.HTTP.Close)
	w.CA = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(w.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.HTTP.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *World) open(t testing.TB, quiet bool) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := storage.New(context.Background(), w.config, log, w.clock, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetAccounts(context.Background(), []storage.Spec{w.spec}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	if quiet {
		ended <- nil
	} else {
		go func() { ended <- s.Run(ctx) }()
	}
	w.Server = s
	w.Account, _ = s.Account(w.spec.ID)
	w.end = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Restart ends the process that serves, as far as its stores are concerned, and begins another with the same folders.
func (w *World) Restart(t testing.TB) {
	t.Helper()
	w.end()
	w.open(t, true)
}

// Set changes what the plan says of the account.
func (w *World) Set(t testing.TB, change func(*storage.Spec)) {
	t.Helper()
	change(&w.spec)
	if err := w.Server.SetAccounts(context.Background(), []storage.Spec{w.spec}); err != nil {
		t.Fatal(err)
	}
}

// Key is the account's first key.
func (w *World) Key(t testing.TB) []byte {
	t.Helper()
	primary, _ := w.Account.Keys()
	b, err := base64.StdEncoding.DecodeString(primary)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// URL is the account's address: of the door, with the account's name in the path.
func (w *World) URL() string { return w.HTTP.URL + "/" + w.Account.AccountName() }

// ConnectionString is what SDKs are given.
func (w *World) ConnectionString() string {
	primary, _ := w.Account.Keys()
	return "DefaultEndpointsProtocol=https;AccountName=" + w.Account.AccountName() + ";AccountKey=" + primary + ";BlobEndpoint=" + w.URL() + ";"
}
