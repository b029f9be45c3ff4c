package handover

import (
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/fault"
)

// firstInherited is the first descriptor that systemd passes (SD_LISTEN_FDS_START).
const firstInherited = 3

// Inherited returns the listening TCP sockets that systemd opened for this process, sorted by address. getenv and unset are
// os.Getenv and os.Unsetenv: the variables are taken away, so that no child believes that they are for it.
func Inherited(getenv func(string) string, unset func(string) error) ([]Socket, error) {
	const op = "handover.Inherited"
	pid, count, names := getenv("LISTEN_PID"), getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = unset(v) // there is nothing to do about it
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // for nobody, or for whoever started us
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > mostSockets {
		return nil, fault.Newf(op, fault.Invalid, "LISTEN_FDS is %q", count).Advise("start the process by systemd, or without LISTEN_PID")
	}
	return gather(op, firstInherited, n, strings.Split(names, ":"))
}

func gather(op string, first, n int, names []string) (out []Socket, err error) {
	defer func() {
		if err != nil {
			CloseAll(out)
			out = nil
		}
	}()
	for i := range n {
		unix.CloseOnExec(first + i)
		name := "systemd"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		f := os.NewFile(uintptr(first+i), name)
		key, err := keyOf(f)
		if err != nil {
			_ = f.Close()
			return out, fault.Newf(op, fault.Invalid, "the socket %q, which systemd passes, is none that listens for TCP", name).Because(err).
				Advise("use ListenStream= with an address and port in the socket unit, and Accept=no")
		}
		out = join(out, Socket{Name: name, Address: key, Files: []*os.File{f}})
	}
	return out, nil
}

// join adds a socket to those of the same address.
func join(all []Socket, one Socket) []Socket {
	for i := range all {
		if all[i].Address == one.Address {
			all[i].Files = append(all[i].Files, one.Files...)
			return all
		}
	}
	return append(all, one)
}

// Notify tells systemd something, such as "READY=1", "RELOADING=1", "STOPPING=1" or "MAINPID=42"; without systemd it does nothing. getenv
// is os.Getenv.
func Notify(getenv func(string) string, states ...string) error {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fault.Wrap("handover.Notify", fault.Unavailable, err, "systemd cannot be told at "+getenv("NOTIFY_SOCKET"))
	}
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte(strings.Join(states, "\n")))
	return fault.Wrap("handover.Notify", fault.Unavailable, err, "systemd cannot be told at "+getenv("NOTIFY_SOCKET"))
}
