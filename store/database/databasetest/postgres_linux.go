package databasetest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// programs is where Debian has PostgreSQL, a folder for each version.
const programs = "/usr/lib/postgresql"

// startPostgres makes a cluster in a directory of its own, where its socket is too, and waits until it says that it takes
// connections. The directory is empty when the machine has no PostgreSQL.
func startPostgres() (dir string, stop func(), err error) {
	bins, err := filepath.Glob(programs + "/*/bin/postgres")
	if err != nil || len(bins) == 0 {
		return "", nil, err
	}
	bin := filepath.Dir(bins[len(bins)-1])
	if dir, err = os.MkdirTemp("", "isthmus-pg"); err != nil {
		return "", nil, err
	}
	made := dir
	defer func() {
		if err != nil {
			_ = os.RemoveAll(made)
		}
	}()
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT} // also when the tests run out of time
	if os.Getuid() == 0 {                                   // it refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return "", nil, err
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return "", nil, err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "isthmus", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	pg := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir, "-c", "fsync=off", "-c", "max_connections=50")
	pg.SysProcAttr, pg.Dir = attr, dir
	said, err := pg.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := pg.Start(); err != nil {
		return "", nil, err
	}
	ready := false
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept connections") {
			ready = true
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
	if !ready {
		stop()
		return "", nil, fmt.Errorf("postgres ended early")
	}
	return dir, stop, nil
}
