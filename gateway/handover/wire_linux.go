package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/fault"
)

// message is what the two processes say to each other: four bytes of length and JSON. Sockets follow the message that announces them,
// some at a time, each time with one byte that carries them.
type message struct {
	Say     string `json:"say"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
	Files   int    `json:"files,omitempty"`
	Words   string `json:"words,omitempty"`
	PID     int    `json:"pid,omitempty"`
}

// What is said. An unknown word ends the hand-over, so that versions which do not understand each other leave all as it is.
const (
	sayTake   = "take.1" // new: give me your sockets
	saySocket = "socket" // old: one address, and its files
	sayAll    = "all"    // old: these were all
	sayReady  = "ready"  // new: I accept from them
	sayOver   = "over"   // old: I do not any more
	sayNo     = "no"     // old: no, and why
)

const (
	mostMessage = 64 << 10
	mostSockets = 4096 // of one hand-over
	atOnce      = 128  // files in one go; the kernel takes 253 (SCM_MAX_FD)
)

func send(c *net.UnixConn, m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func receive(c *net.UnixConn) (m message, err error) {
	var length [4]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return m, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > mostMessage {
		return m, fault.Newf("handover.receive", fault.TooLarge, "a message of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		return m, err
	}
	err = json.Unmarshal(b, &m)
	return m, err
}

func sendFiles(c *net.UnixConn, files []*os.File) error {
	for len(files) > 0 {
		some := files[:min(len(files), atOnce)]
		files = files[len(some):]
		var fds []int
		for _, f := range some {
			raw, err := f.SyscallConn() // Fd might make the socket, which others accept from, wait
			if err == nil {
				err = raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
			}
			if err != nil {
				return err
			}
		}
		_, _, err := c.WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil)
		runtime.KeepAlive(some)
		if err != nil {
			return err
		}
	}
	return nil
}

func receiveFiles(c *net.UnixConn, name string, n int) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			(&Socket{Files: files}).Close()
			files = nil
		}
	}()
	space := make([]byte, unix.CmsgSpace(4*atOnce))
	for len(files) < n {
		var one [1]byte
		got, ancillary, flags, _, err := c.ReadMsgUnix(one[:], space) // Go sets MSG_CMSG_CLOEXEC
		if err != nil {
			return files, err
		}
		more, err := filesOf(space[:ancillary], name)
		files = append(files, more...)
		switch {
		case err != nil:
			return files, err
		case got == 0:
			return files, io.ErrUnexpectedEOF
		case flags&unix.MSG_CTRUNC != 0:
			return files, errors.New("sockets were lost: this process may not open as many files")
		case len(more) == 0 || len(files) > n:
			return files, errors.New("not the sockets that were announced")
		}
	}
	return files, nil
}

func filesOf(ancillary []byte, name string) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(ancillary)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), name))
		}
	}
	return files, nil
}

// sameUser asks the kernel who is at the other end.
func sameUser(c *net.UnixConn) (pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if inner != nil {
		return 0, inner
	}
	if int(cred.Uid) != syscall.Geteuid() {
		return int(cred.Pid), fault.Newf("handover.sameUser", fault.Denied, "process %d belongs to user %d", cred.Pid, cred.Uid).
			Advise("run both processes as the same user")
	}
	return int(cred.Pid), nil
}
