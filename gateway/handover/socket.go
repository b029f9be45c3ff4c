package handover

import (
	"net"
	"net/netip"
	"os"
	"strconv"
)

// Socket is one listening address: every socket of it, since each has a queue of its own.
type Socket struct {
	Name    string     // of the listener, for logs
	Address string     // as Key gives it
	Files   []*os.File // listening sockets
}

// Close closes the files.
func (s *Socket) Close() {
	for _, f := range s.Files {
		_ = f.Close()
	}
	s.Files = nil
}

// CloseAll closes the files of all.
func CloseAll(sockets []Socket) {
	for i := range sockets {
		sockets[i].Close()
	}
}

// Key is an address in the form by which sockets are found again: "192.0.2.1:443", "[2001:db8::1]:443", and ":443" for all addresses.
func Key(at netip.AddrPort) string {
	a := at.Addr().Unmap()
	if !a.IsValid() || a.IsUnspecified() {
		return ":" + strconv.Itoa(int(at.Port()))
	}
	return netip.AddrPortFrom(a, at.Port()).String()
}

// keyOf asks a listening socket for its address.
func keyOf(f *os.File) (string, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return "", err
	}
	defer l.Close()
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return "", os.ErrInvalid
	}
	return Key(tcp.AddrPort()), nil
}

// Path is where a process with this data directory answers.
func Path(dir string) string { return dir + string(os.PathSeparator) + "handover.sock" }
