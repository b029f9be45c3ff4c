package sshproxy_test

import (
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/sshca/sshdtest"
)

// ways are a person's connection through a Proxy, and to the sshd itself, for comparison.
func ways(b *testing.B, f func(b *testing.B, c *ssh.Client)) {
	w := newWorld(b)
	direct := w.address
	for _, way := range []struct {
		name string
		to   *net.TCPAddr
	}{{"proxy", direct}, {"sshd", w.sshd.Address}} {
		b.Run(way.name, func(b *testing.B) {
			w.address = way.to
			f(b, w.client(w.pass()))
		})
	}
	w.address = direct
}

// BenchmarkKeystroke types one character at a terminal and waits until it is shown.
func BenchmarkKeystroke(b *testing.B) {
	ways(b, func(b *testing.B, c *ssh.Client) {
		s, err := c.NewSession()
		must(b, err)
		in, err := s.StdinPipe()
		must(b, err)
		out, err := s.StdoutPipe()
		must(b, err)
		must(b, s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0, ssh.ICANON: 0, ssh.OPOST: 0}), s.Start("stty raw -echo; echo; cat"))
		one := make([]byte, 1)
		for one[0] != '\n' {
			_, err = io.ReadFull(out, one)
			must(b, err)
		}
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			_, err := in.Write([]byte("x"))
			must(b, err)
			_, err = io.ReadFull(out, one)
			must(b, err)
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		c.Close()
	})
}

// BenchmarkUpload sends bytes to a command.
func BenchmarkUpload(b *testing.B) {
	ways(b, func(b *testing.B, c *ssh.Client) {
		s, err := c.NewSession()
		must(b, err)
		in, err := s.StdinPipe()
		must(b, err)
		must(b, s.Start("cat >/dev/null"))
		block := make([]byte, 1<<20)
		b.SetBytes(int64(len(block)))
		for b.Loop() {
			_, err := in.Write(block)
			must(b, err)
		}
		must(b, in.Close(), s.Wait())
		c.Close()
	})
}

// BenchmarkSCP is the real scp with 100 MB.
func BenchmarkSCP(b *testing.B) {
	w := newWorld(b)
	local, _ := randomFile(b, 100_000_000)
	direct := w.address
	for _, to := range []struct {
		name    string
		address *net.TCPAddr
		more    []string
	}{{"proxy", direct, nil}, {"sshd", w.sshd.Address, []string{"-o", "StrictHostKeyChecking=no"}}} {
		b.Run(to.name, func(b *testing.B) {
			b.SetBytes(100_000_000)
			w.address = to.address
			for b.Loop() {
				sshdtest.Run(b, "scp", append(append(to.more, w.options(w.ca, w.pass())...), "-q", local, w.where()+":"+b.TempDir()+"/x")...)
			}
		})
	}
	w.address = direct
	_ = os.Remove(local)
}

// BenchmarkBegin is a whole session: both handshakes, a command, the end.
func BenchmarkBegin(b *testing.B) {
	w := newWorld(b)
	direct := w.address
	for _, to := range []struct {
		name    string
		address *net.TCPAddr
	}{{"proxy", direct}, {"sshd", w.sshd.Address}} {
		b.Run(to.name, func(b *testing.B) {
			w.address = to.address
			for b.Loop() {
				c := w.client(w.pass())
				s, err := c.NewSession()
				must(b, err)
				must(b, s.Run("true"))
				c.Close()
				if to.name == "proxy" {
					<-w.ends
				}
			}
		})
	}
	w.address = direct
}
