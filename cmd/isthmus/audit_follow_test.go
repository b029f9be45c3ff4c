package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control/jointoken"
)

// detour leads to an address, unless it is closed for a while.
type detour struct {
	t     *testing.T
	to    string
	at    string
	mu    sync.Mutex
	l     net.Listener      // guarded by mu
	conns map[net.Conn]bool // guarded by mu
	ended sync.WaitGroup
}

func newDetour(t *testing.T, to string) *detour {
	d := &detour{t: t, to: to, at: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	d.open()
	t.Cleanup(d.close)
	return d
}

func (d *detour) open() {
	d.t.Helper()
	l, err := net.Listen("tcp", d.at)
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.l, d.at = l, l.Addr().String()
	d.ended.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", d.to)
			if err != nil {
				in.Close()
				continue
			}
			d.mu.Lock()
			d.conns[in], d.conns[out] = true, true
			d.mu.Unlock()
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				d.ended.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					pair[0].Close()
				})
			}
		}
	})
}

// close ends everything that goes through, as when a server is restarted.
func (d *detour) close() {
	d.mu.Lock()
	d.l.Close()
	for c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.ended.Wait()
}

// follower is an export that goes on, of a plane that can be out of reach.
type follower struct {
	t   *testing.T
	p   *plane
	way *detour
	dir string
	env map[string]string
}

func newFollower(t *testing.T) *follower {
	t.Helper()
	noTrace(t)
	p, err := startPlane(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	f := &follower{t: t, p: p, way: newDetour(t, p.address), dir: t.TempDir()}
	f.env = map[string]string{"ISTHMUS_SERVER": f.way.at, "ISTHMUS_PIN": jointoken.Pin(p.authority.Certificate()), "ISTHMUS_TOKEN": p.admin,
		"ISTHMUS_CONFIG": filepath.Join(f.dir, "contexts.yaml")}
	f.apply("first")
	return f
}

// apply makes a record.
func (f *follower) apply(why string) {
	f.t.Helper()
	w, _, errs := testWorld(f.env)
	f.env["ISTHMUS_SERVER"] = f.p.address
	w.in = strings.NewReader("apiVersion: isthmus/v1\nkind: Tenant\nmetadata: {name: ot}\nspec: {displayName: " + why + "}\n")
	code := run(f.t.Context(), w, []string{"apply", "-f", "-", "--reason", why})
	f.env["ISTHMUS_SERVER"] = f.way.at
	if code != exitDone {
		f.t.Fatal(errs.String())
	}
}

// start begins an export that goes on; the returned function interrupts it and gives its exit code.
func (f *follower) start(args ...string) (errs *screen, interrupt func() int) {
	f.t.Helper()
	w, _, errs := testWorld(f.env)
	fake := clock.NewFake(time.Now())
	w.clock = fake
	enough := moving(fake, time.Second)
	ctx, cancel := context.WithCancel(f.t.Context())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, w, append([]string{"audit", "export", "--follow", "--tenant", "ot"}, args...))
	}()
	return errs, sync.OnceValue(func() int {
		cancel()
		defer enough()
		return <-code
	})
}

// await returns what stands in a file once that text is in it.
func (f *follower) await(file, text string) string {
	f.t.Helper()
	for {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			f.t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			return string(b)
		}
		select {
		case <-f.t.Context().Done():
			f.t.FailNow()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (f *follower) verify(file string, last int64) {
	f.t.Helper()
	in, err := os.Open(file)
	if err != nil {
		f.t.Fatal(err)
	}
	defer in.Close()
	list, err := audit.VerifyExport(audit.NewReader(in), f.p.authority.CertificatePEM(), nil, nil)
	if err != nil || len(list) != 1 || list[0].Last.Sequence != last {
		f.t.Errorf("%s: %+v, %v", file, list, err)
	}
}

func TestAnExportGoesOnAfterItsServerAndItself(t *testing.T) {
	f := newFollower(t)
	file := filepath.Join(f.dir, "ot.jsonl")
	errs, interrupt := f.start("--to", file)
	f.await(file, `"why":"first"`)
	f.way.close()
	f.apply("meanwhile")
	errs.await("trying again")
	f.way.open()
	f.await(file, `"why":"meanwhile"`)
	errs.await("it goes on")
	if code := interrupt(); code != exitDone {
		t.Fatal(code, errs.String())
	}
	f.verify(file, 2)

	// A crash may leave more in the file than in the state.
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(b), "\n")
	if err := os.WriteFile(file, []byte(string(b)+lines[1]+`{"type":"rec`), 0o600); err != nil {
		t.Fatal(err)
	}
	f.apply("afterwards")
	_, interrupt = f.start("--to", file)
	f.await(file, `"why":"afterwards"`)
	if code := interrupt(); code != exitDone {
		t.Fatal(code)
	}
	f.verify(file, 3)

	// A file that is taken away begins anew, where the one before ended.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	f.apply("rotated")
	_, interrupt = f.start("--to", file)
	f.await(file, `"why":"rotated"`)
	interrupt()
	if text := f.await(file, `"after":{"sequence":3,`); strings.Contains(text, `"why":"afterwards"`) {
		t.Error(text)
	}
	f.verify(file, 4)

	// One that is shorter than it was is not written to, nor is one whose state is lost.
	if err := os.Truncate(file, 10); err != nil {
		t.Fatal(err)
	}
	errs, interrupt = f.start("--to", file)
	errs.await("shorter than when it was last written to")
	interrupt()
	if err := os.Remove(file + ".state"); err != nil {
		t.Fatal(err)
	}
	errs, interrupt = f.start("--to", file)
	errs.await("which says how far it got, is not")
	interrupt()
}

func TestAnExportDoesNotGoOnWithAnotherChain(t *testing.T) {
	f := newFollower(t)
	file := filepath.Join(f.dir, "ot.jsonl")
	_, interrupt := f.start("--to", file)
	f.await(file, `"why":"first"`)
	interrupt()
	b, err := os.ReadFile(file + ".state")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".state", []byte(strings.Replace(string(b), `"hash":"`, `"hash":"0`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	errs, interrupt := f.start("--to", file)
	errs.await("does not have record 1 of ot any more")
	if interrupt() != exitFailed {
		t.Error("it ended well")
	}
	errs, interrupt = f.start("--to", file+"2", "--state", file+".state")
	errs.await("is the state of an export of isthmus.test to " + file)
	interrupt()
}

// collecting takes messages at an address until it is closed.
func collecting(t *testing.T, at string, got *[]string, mu *sync.Mutex) (address string, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	var conns []net.Conn
	ended.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			ended.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					length, err := in.ReadString(' ')
					if err != nil {
						return
					}
					n, _ := strconv.Atoi(strings.TrimSpace(length))
					b := make([]byte, n)
					if _, err := io.ReadFull(in, b); err != nil {
						return
					}
					mu.Lock()
					*got = append(*got, string(b))
					mu.Unlock()
				}
			})
		}
	})
	return l.Addr().String(), sync.OnceFunc(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		ended.Wait()
	})
}

func TestAnExportGoesOnAfterItsCollector(t *testing.T) {
	f := newFollower(t)
	var mu sync.Mutex
	var got []string
	await := func(text string) {
		t.Helper()
		for {
			mu.Lock()
			found := slices.ContainsFunc(got, func(m string) bool { return strings.Contains(m, text) })
			mu.Unlock()
			if found {
				return
			}
			select {
			case <-t.Context().Done():
				t.FailNow()
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	at, end := collecting(t, "127.0.0.1:0", &got, &mu)
	defer func() { end() }()
	errs, interrupt := f.start("--to", "tcp://"+at)
	await(`sequence="1"`)
	end()
	f.apply("meanwhile")
	errs.await("the log collector at " + at)
	_, end = collecting(t, at, &got, &mu)
	await(`why="meanwhile"`)
	if code := interrupt(); code != exitDone {
		t.Fatal(code, errs.String())
	}
	mu.Lock()
	got = nil
	mu.Unlock()
	f.apply("afterwards")
	_, interrupt = f.start("--to", "tcp://"+at)
	await(`why="afterwards"`)
	interrupt()
	mu.Lock()
	defer mu.Unlock()
	if len(got) == 0 || !strings.Contains(got[0], `sequence="3"`) && !strings.Contains(got[0], "checkpoint") {
		t.Errorf("after a new start: %q", got)
	}
}
