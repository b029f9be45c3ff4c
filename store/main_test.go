package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/store"
)

// server is a PostgreSQL for the time of the tests, when the machine has the programs; "" otherwise.
var serverDir string

func TestMain(m *testing.M) {
	stop := func() {}
	if bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin"); len(bins) > 0 {
		var err error
		if stop, err = startPostgres(bins[len(bins)-1]); err != nil {
			fmt.Fprintln(os.Stderr, "PostgreSQL is installed and does not start:", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// startPostgres makes a cluster in a directory of its own and waits until it says that it takes connections.
func startPostgres(bin string) (stop func(), err error) {
	dir, err := os.MkdirTemp("", "isthmus-pg")
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // it refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "isthmus", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	pg := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir, "-c", "fsync=off", "-c", "max_connections=50")
	pg.SysProcAttr, pg.Dir = attr, dir
	said, err := pg.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := pg.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept connections") {
			serverDir = dir
			break
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, said)
	}()
	stop = func() {
		_ = pg.Process.Signal(syscall.SIGINT)
		<-drained
		_ = pg.Wait()
		_ = os.RemoveAll(dir)
	}
	if serverDir == "" {
		stop()
		return nil, fmt.Errorf("postgres ended early")
	}
	return stop, nil
}

var databases atomic.Int64

// each runs a test on every database there is. open opens the same one each time it is called.
func each(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "state dir", "isthmus.db")) })
	if serverDir == "" {
		return
	}
	t.Run("postgres", func(t *testing.T) {
		dsn := func(db string) string {
			q := url.Values{"host": {serverDir}, "user": {"isthmus"}, "sslmode": {"disable"}}
			return "postgres:///" + db + "?" + q.Encode()
		}
		db, err := sql.Open("pgx", dsn("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		name := fmt.Sprintf("t%d", databases.Add(1))
		if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
			t.Fatal(err)
		}
		test(t, dsn(name))
	})
}

func open(t *testing.T, dsn string) *store.Store {
	t.Helper()
	st, err := store.Open(context.Background(), store.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}
