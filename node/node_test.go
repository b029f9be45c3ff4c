package node_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/node"
)

func run(t *testing.T, cfg node.ServerConfig) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ready := cfg.Ready
	cfg.Ready = func(r node.ServerReady) {
		if ready != nil {
			ready(r)
		}
		cancel()
	}
	return node.Server(ctx, cfg, slog.New(slog.DiscardHandler), clock.System{}, prometheus.NewRegistry())
}

// TestFirstStart: the administrator's token appears once, the authority is made once, and both files are their owner's.
func TestFirstStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "server")
	var starts []node.ServerReady
	for range 2 {
		if err := run(t, node.ServerConfig{DataDir: dir, Listen: "127.0.0.1:0", Ready: func(r node.ServerReady) { starts = append(starts, r) }}); err != nil {
			t.Fatal(err)
		}
	}
	if len(starts) != 2 || starts[0].AdminToken == "" || starts[1].AdminToken != "" {
		t.Fatalf("tokens of two starts: %+v", starts)
	}
	if starts[0].Pin != starts[1].Pin {
		t.Error("the second start made another authority")
	}
	secret := strings.Split(starts[0].AdminToken, "_")
	for _, name := range []string{"ca.key", "ca.pem", "control.db"} {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), secret[len(secret)-1]) {
			t.Errorf("the administrator's secret is in %s", name)
		}
	}
}

// TestWhatStandsInTheWay: each obstacle is named, and nothing that was there is touched.
func TestWhatStandsInTheWay(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name   string
		break_ func(t *testing.T, dir string) node.ServerConfig
		want   string
	}{
		{"a port that is taken", func(_ *testing.T, dir string) node.ServerConfig {
			return node.ServerConfig{DataDir: dir, Listen: taken.Addr().String()}
		}, "cannot listen on " + taken.Addr().String()},
		{"a data directory that is a file", func(t *testing.T, dir string) node.ServerConfig {
			file := filepath.Join(dir, "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return node.ServerConfig{DataDir: file, Listen: "127.0.0.1:0"}
		}, "cannot be made"},
		{"a damaged authority key", func(t *testing.T, dir string) node.ServerConfig {
			if err := run(t, node.ServerConfig{DataDir: dir, Listen: "127.0.0.1:0"}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "ca.key"), []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
			return node.ServerConfig{DataDir: dir, Listen: "127.0.0.1:0"}
		}, "no PEM text"},
		{"an authority without its certificate", func(t *testing.T, dir string) node.ServerConfig {
			if err := run(t, node.ServerConfig{DataDir: dir, Listen: "127.0.0.1:0"}); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "ca.pem")); err != nil {
				t.Fatal(err)
			}
			return node.ServerConfig{DataDir: dir, Listen: "127.0.0.1:0"}
		}, "ca.pem cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := c.break_(t, t.TempDir())
			key, _ := os.ReadFile(filepath.Join(cfg.DataDir, "ca.key"))
			err := run(t, cfg)
			if err == nil || !strings.Contains(fault.Message(err), c.want) {
				t.Errorf("%v, want %q in its words", err, c.want)
			}
			if after, _ := os.ReadFile(filepath.Join(cfg.DataDir, "ca.key")); len(key) > 0 && string(after) != string(key) {
				t.Error("the authority's key was changed")
			}
		})
	}
}

// TestNotJoined: a relay or hub that has not joined says how to.
func TestNotJoined(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, err := range map[string]error{
		"relay": node.Relay(t.Context(), node.RelayConfig{DataDir: t.TempDir(), Listen: "127.0.0.1:0"}, log, clock.System{}, nil),
		"hub":   node.Hub(t.Context(), node.HubConfig{DataDir: t.TempDir(), MQTT: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, AMQP: []string{"127.0.0.1:0"}}, log, clock.System{}, nil),
	} {
		if err == nil || !strings.Contains(fault.Next(err), "join") {
			t.Errorf("%s: %v (next: %s)", name, err, fault.Next(err))
		}
	}
}
