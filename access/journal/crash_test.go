package journal

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
)

// told is a control plane that writes on standard output what it took.
type told struct {
	*plane
	mu *sync.Mutex
}

func (c told) Sessions(_ context.Context, records []session.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		if rand.IntN(10) == 0 {
			return errAway
		}
		fmt.Printf("taken %s %s\n", r.Session, r.Phase)
	}
	return nil
}

// childWriter has sessions, and tells of each record once it is on disk, until it is killed.
func childWriter(dir string) int {
	t := &testing.T{}
	j, err := Open(Config{Dir: dir, MaxBytes: 1 << 20}, quiet(), clock.System{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var mu sync.Mutex
	go func() { _ = j.Run(context.Background(), told{newPlane(), &mu}) }()
	base := rand.IntN(1<<12) << 20
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				n := base + w<<16 + i
				note := func(r session.Record) {
					j.Note(r)
					j.settled(t)
					mu.Lock()
					fmt.Printf("noted %s %s\n", r.Session, r.Phase)
					mu.Unlock()
				}
				note(opened(n))
				end := ended(n)
				if i%3 == 0 {
					r, err := j.Recording(id(n))
					if err != nil {
						panic(err)
					}
					_, _ = r.Write([]byte("content of " + id(n)))
					_ = r.Close()
					end.Recording = id(n)
				}
				note(end)
			}
		}()
	}
	select {}
}

func TestKillsLoseNothing(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	must(t, err)
	noted, taken := map[string]bool{}, map[string]bool{}
	for range 4 {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_DIR="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 200 + rand.IntN(400); lines.Scan(); n-- {
			what, record, _ := strings.Cut(lines.Text(), " ")
			if len(record) < 38 { // the kill came in the middle of it
				continue
			}
			map[string]map[string]bool{"noted": noted, "taken": taken}[what][record] = true
			if n == 0 {
				must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait() // killed
	}
	if len(noted) < 600 {
		t.Fatalf("only %d records were noted", len(noted))
	}
	p := newPlane()
	l := start(t, Config{Dir: dir}, p, clock.System{})
	p.until(t, "everything", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.open) == 0 && len(l.waiting) == 0 && len(l.recordings) == 0 && l.taken == l.next && len(p.records) > 0 && l.begun > 0 && l.segments != nil && alone(dir)
	})
	l.stop()
	phases := map[string][]string{}
	for _, r := range p.first() {
		taken[r.Session+" "+string(r.Phase)] = true
		phases[r.Session] = append(phases[r.Session], string(r.Phase))
		if r.Recording != "" && string(p.files[r.Session]) != "content of "+r.Session && string(p.files[r.Session]) != "" {
			t.Errorf("the recording of %s is %q", r.Session, p.files[r.Session])
		}
	}
	for record := range noted {
		if !taken[record] {
			t.Errorf("lost: %s", record)
		}
	}
	for record := range taken {
		if s, ok := strings.CutSuffix(record, " opened"); ok && !taken[s+" ended"] {
			t.Errorf("never ended: %s", s)
		}
	}
	for s, list := range phases {
		if len(list) == 2 && list[0] != "opened" {
			t.Errorf("%s: %v", s, list)
		}
	}
	if w := l.Problems(); len(w) != 0 {
		t.Errorf("problems: %q", w)
	}
}

// alone tells whether no other life is left.
func alone(dir string) bool {
	names, err := lives(dir + "/lives")
	return err == nil && len(names) == 1
}
