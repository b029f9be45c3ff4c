package gateway_test

import (
	"net"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

const canHandOver = true

// raiseFiles lets this process open as many files as it may.
func raiseFiles() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	l.Cur = l.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	return int(min(l.Cur, 1<<30))
}

// deaf returns the address of a listener that answers nobody: its queue has room for one, who is there.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 0))
	at, err := unix.Getsockname(fd)
	must(t, err)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*unix.SockaddrInet4).Port))
	c, err := net.Dial("tcp", address)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return address
}

// Groups on one listener give their targets the time they say.
func TestEachGroupHasItsPatience(t *testing.T) {
	s := serve(t, "alive", false)
	p := front(plan.GatewayRoute{Names: []string{"a.example"}, Group: "quick"}, plan.GatewayRoute{Group: "slow"})
	p.Groups = []resource.TargetGroup{group("quick", deaf(t), s.address()), group("slow", deaf(t), s.address())}
	p.Groups[0].ConnectMillis, p.Groups[1].ConnectMillis = 100, 60_000
	w := start(t, p)
	for range 4 { // half of them are led to the deaf one first
		w.dial(plant, "a.example").wantAlive(t)
	}
	for _, g := range w.g.Status().Groups {
		failed := uint64(0)
		for _, x := range g.Targets {
			failed += x.Failed
		}
		if g.Name == "quick" && failed == 0 {
			t.Error("nobody was led to the deaf target")
		}
	}
}
