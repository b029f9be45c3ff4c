package relay

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
)

// readByProcess is how many bytes this process has taken in by read(2) and its like; splice(2) is not among them.
func readByProcess(t *testing.T) (n int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanf(bytes.NewReader(b), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// The bytes of a pair do not pass through this process: what it reads meanwhile is what the test's own receiving end reads, not
// twice that.
func TestPairIsSplicedByTheKernel(t *testing.T) {
	const size = 64 << 20
	h := serve(t, Config{}, clock.System{})
	a, b := h.pair()
	before := readByProcess(t)
	go func() {
		buf := make([]byte, 1<<20)
		for range size / len(buf) {
			if _, err := a.Write(buf); err != nil {
				return
			}
		}
		_ = a.CloseWrite()
	}()
	got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{b}, make([]byte, 1<<20))
	if err != nil || got != size {
		t.Fatalf("got %d bytes, %v", got, err)
	}
	if read := readByProcess(t) - before; read < size || read > size*5/4 {
		t.Fatalf("the process read %d MiB while a pair carried %d MiB", read>>20, size>>20)
	}
}
