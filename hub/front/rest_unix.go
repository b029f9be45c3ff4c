//go:build unix

package front

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// MayRest tells whether Rest works here: for a connection that is read straight from TLS.
func (c *Conn) MayRest() bool {
	_, ok := c.raw.(syscall.Conn)
	return ok && !c.over
}

// Rest waits until there is something to be read, the read deadline passes, or the connection ends. It is for a reader to whom a read
// said that nothing is there (with os.ErrDeadlineExceeded): until Rest returns he needs no buffer, and next to no stack.
func (c *Conn) Rest() error {
	raw, err := c.raw.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(arrived)
}

// arrived tells whether a read would not wait. The runtime forgets, when a read begins, that bytes came before: so it is asked each time.
func arrived(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err != unix.EAGAIN && err != unix.EINTR
}
