package localsocket

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Listener listens at a path. It is a net.Listener.
type Listener struct {
	*net.UnixListener
	path string
	file os.FileInfo
}

// answerTime is how long a process that may serve the path already has to accept.
const answerTime = time.Second

// Listen makes the socket, and its folders with mode 0700. The fault is a conflict when a process answers there.
func Listen(path string) (*Listener, error) {
	const op = "localsocket.Listen"
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	if c, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		return nil, fault.Newf(op, fault.Conflict, "another process serves %s", path).Advise("a data directory belongs to one process")
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the directory of the socket "+path+" cannot be made")
	}
	// It is made in a directory that is closed to others, and moved to its place when its mode is right.
	private, err := os.MkdirTemp(dir, ".s") // mode 0700
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the socket "+path+" cannot be made")
	}
	defer func() { _ = os.RemoveAll(private) }() // it is empty by then
	temporary := filepath.Join(private, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the socket "+path+" cannot be made; a path may have some 90 bytes")
	}
	ln.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(temporary, 0o600), os.Rename(temporary, path)); err != nil {
		return nil, errors.Join(fault.Wrap(op, fault.Invalid, err, "the socket "+path+" cannot be kept to its owner"), ln.Close())
	}
	l := &Listener{UnixListener: ln, path: path}
	l.file, _ = os.Lstat(path) // when somebody took it away already, there is nothing to remove later
	return l, nil
}

// Close stops listening and removes the file, unless another process has put its own there.
func (l *Listener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && l.file != nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}
