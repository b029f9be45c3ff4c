package testworld_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/testworld"
)

// TestSecretsStayWhereTheyBelong runs the standard scenario with every line of every log, lets things go wrong with true and false
// secrets, and looks for the secrets in the logs and at who may read the files.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	var out lockedBuffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "world")
	w, err := testworld.Start(ctx, testworld.Config{Dir: dir, Log: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := w.Standard(ctx)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"the administrator's token": w.Admin}
	d := connect(t, s, "press-1")
	send(t, d, 3)
	d.Close()

	text, err := s.Device(ctx, "press-1")
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	secrets["a device's key"] = cs.Key
	cs.Key = base64.StdEncoding.EncodeToString([]byte("a key that is not the device's own"))
	secrets["a wrong key"] = cs.Key
	deviceRefused(t, s, cs.String(), clock.System{})

	h, err := s.Hub()
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []string{"iothubowner", "device"} {
		text, err := h.PolicyConnectionString(policy)
		if err != nil {
			t.Fatal(err)
		}
		p, err := sas.ParseConnectionString(text)
		if err != nil {
			t.Fatal(err)
		}
		secrets["the key of policy "+policy] = p.Key
	}

	used := joinToken(t, w, client.JoinTokenRequest{For: "agent", Tenant: "ot", Network: "plant-7", Name: "late"})
	if err := join(t, w, used, "late", clock.System{}); err != nil {
		t.Fatal(err)
	}
	if err := join(t, w, used, "late", clock.System{}); err == nil {
		t.Fatal("a token was used twice")
	}
	tok, err := jointoken.Parse(used)
	if err != nil {
		t.Fatal(err)
	}
	secrets["a join token"], secrets["a join token's secret"] = used, tok.Secret
	wrong := w.Admin[:len(w.Admin)-4] + "aaaa"
	secrets["a wrong token"] = wrong
	if _, err := as(t, s, wrong).WhoAmI(ctx); err == nil {
		t.Fatal("a wrong token was good")
	} else if strings.Contains(err.Error(), wrong) {
		t.Errorf("the error repeats the token: %v", err)
	}
	collect(t, dir, secrets)
	if secrets["a link key"] == "" || len(secrets) < 12 {
		t.Fatalf("only %d secrets were found: the test looks in the wrong places", len(secrets))
	}
	log := out.String()
	if strings.Count(log, "\n") < 50 || !strings.Contains(log, `"level":"DEBUG"`) {
		t.Fatalf("the log has %d lines", strings.Count(log, "\n"))
	}
	for what, secret := range secrets {
		if i := strings.Index(log, secret); i >= 0 {
			t.Errorf("%s is in the log: %.200s", what, log[strings.LastIndexByte(log[:i], '\n')+1:])
		}
	}
	for _, mark := range []string{"SharedAccessSignature", "SharedAccessKey=", "PRIVATE KEY", "Bearer isthmus_"} {
		if i := strings.Index(log, mark); i >= 0 {
			t.Errorf("%s is in the log: %.200s", mark, log[strings.LastIndexByte(log[:i], '\n')+1:])
		}
	}
	onlyTheOwner(t, dir)
}

// collect finds the keys that the processes keep.
func collect(t *testing.T, dir string, secrets map[string]string) {
	t.Helper()
	walk(t, dir, func(path string, info fs.FileInfo) {
		switch filepath.Base(path) {
		case "identity.json":
			var kept struct{ Key string }
			read(t, path, &kept)
			secrets["the key in "+path] = strings.Split(kept.Key, "\n")[1]
		case "ca.key":
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			secrets["the authority's key"] = strings.Split(string(b), "\n")[1]
		case "plan.json":
			var p plan.Plan
			read(t, path, &p)
			for _, s := range p.Services {
				if len(s.LinkKey) > 0 {
					secrets["a link key"] = base64.StdEncoding.EncodeToString(s.LinkKey)
					secrets["a link key in hexadecimal"] = hex.EncodeToString(s.LinkKey)
				}
			}
		}
	})
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// onlyTheOwner checks modes: a file that others could open must be in a directory they cannot enter.
func onlyTheOwner(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return // it has other means than modes
	}
	walk(t, dir, func(path string, info fs.FileInfo) {
		if info.Mode().Perm()&0o077 == 0 {
			return
		}
		base := filepath.Base(path)
		for _, secret := range []string{"identity.json", "plan.json", "ca.key", "ca.pem", "control.db", "hub.db", "admin.sock", "serving"} {
			if strings.HasPrefix(base, secret) {
				t.Errorf("%s has the mode %v", path, info.Mode())
			}
		}
		for p := filepath.Dir(path); ; p = filepath.Dir(p) {
			if i, err := os.Stat(p); err == nil && i.Mode().Perm()&0o077 == 0 {
				return
			}
			if p == dir || p == filepath.Dir(p) {
				break
			}
		}
		t.Errorf("%s has the mode %v, and nothing above it is closed", path, info.Mode())
	})
}

func walk(t *testing.T, dir string, visit func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info fs.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			visit(path, info)
		}
		return nil // files come and go under a running world
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is a log's destination.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
