package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/keepfile"
)

// A life is the directory of one life of the process, locked for as long as the process lives.
type life struct {
	dir  string
	lock *os.File
}

const (
	lockName     = "lock"
	rawEnding    = ".part" // a recording under way
	closedEnding = ".age"
)

var errTaken = errors.New("another process has it")

// newLife makes the directory after all those there are.
func newLife(parent string) (*life, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	for {
		names, err := lives(parent)
		if err != nil {
			return nil, err
		}
		number := uint64(1)
		if len(names) > 0 {
			last, _ := strconv.ParseUint(names[len(names)-1], 10, 64) // lives checked it
			number = last + 1
		}
		dir := filepath.Join(parent, fmt.Sprintf("%012d", number))
		if err := os.Mkdir(dir, 0o700); err != nil {
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			return nil, err
		}
		l, err := enter(dir)
		switch {
		case errors.Is(err, errTaken) || errors.Is(err, fs.ErrNotExist):
			continue // whoever looks for dead lives was there first
		case err != nil:
			return nil, err
		}
		return l, keepfile.SyncFolder(parent)
	}
}

// lives returns the names of the lives' directories, the oldest first.
func lives(parent string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && e.IsDir() && len(e.Name()) == 12 {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// enter locks a life's directory; errTaken when its process lives.
func enter(dir string) (*life, error) {
	name := filepath.Join(dir, lockName)
	f, err := lock(name)
	if err != nil {
		return nil, err
	}
	there, err := os.Stat(name)
	if err == nil {
		var held fs.FileInfo
		if held, err = f.Stat(); err == nil && !os.SameFile(there, held) {
			err = errTaken // and gone again
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &life{dir, f}, nil
}

func (l *life) close() error { return l.lock.Close() }

// later keeps a session from ending before it began on a machine whose clock was set back by its restart.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// remove deletes what is left of a life from which everything was taken over.
func (l *life) remove() error {
	l.lock.Close() // first, for systems on which an open file cannot be deleted
	return os.RemoveAll(l.dir)
}

// inherit takes over what dead lives left. What fails is tried again a minute later.
func (j *Journal) inherit() {
	parent := filepath.Dir(j.life.dir)
	names, err := lives(parent)
	if err == nil {
		for _, name := range names {
			dir := filepath.Join(parent, name)
			if dir == j.life.dir {
				continue
			}
			var dead *life
			if dead, err = enter(dir); errors.Is(err, errTaken) || errors.Is(err, fs.ErrNotExist) {
				err = nil
				continue
			}
			if err == nil {
				err = j.takeOver(dead)
			}
			if err != nil {
				break
			}
		}
	}
	j.trouble("inherit", "what an earlier life of this process left of its journal of sessions cannot be taken over", diskFault("journal.inherit", parent, err))
}

// takeOver moves everything of a dead life to ours, so that a kill in between loses nothing, and repeats a segment at most.
func (j *Journal) takeOver(dead *life) error {
	entries, err := os.ReadDir(dead.dir)
	if err != nil {
		dead.lock.Close()
		return err
	}
	open := map[string]session.Record{}
	for _, e := range entries { // sorted by name, so the oldest segment comes first
		if !strings.HasSuffix(e.Name(), segmentEnding) {
			continue
		}
		if err := j.takeSegment(filepath.Join(dead.dir, e.Name()), open); err != nil {
			dead.lock.Close()
			return err
		}
	}
	if err := j.endLost(dead, open); err != nil {
		dead.lock.Close()
		return err
	}
	for _, e := range entries {
		if err := j.takeRecording(dead, e.Name()); err != nil {
			dead.lock.Close()
			return err
		}
	}
	return dead.remove()
}

// takeSegment copies the records of a dead life's segment that were not sent, and deletes it.
func (j *Journal) takeSegment(path string, open map[string]session.Record) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	records, damaged := readRecords(f, open)
	f.Close()
	if damaged > 0 {
		j.trouble("damaged", "the journal of sessions was damaged on this machine's disk", damagedFault(path, damaged))
	}
	if len(records) > 0 {
		j.writing.Lock()
		j.mu.Lock()
		taken := j.taken
		j.mu.Unlock()
		if err = j.append(records, taken); err == nil {
			j.tidy()
		}
		j.writing.Unlock()
		if err != nil {
			return err
		}
		signal(j.news)
	}
	return os.Remove(path)
}

// readRecords returns the records of a whole segment that the control plane does not have, and brings open up to date.
func readRecords(from io.Reader, open map[string]session.Record) (records []session.Record, damaged int) {
	r := newReader(from)
	var all []numbered
	var taken uint64
	for {
		e, ok := r.next()
		if !ok {
			break
		}
		taken = max(taken, e.Taken)
		for _, o := range e.Open {
			open[o.Session] = o
		}
		if e.Record == nil {
			continue
		}
		all = append(all, numbered{e.N, *e.Record})
		switch e.Record.Phase {
		case session.Opened:
			open[e.Record.Session] = *e.Record
		case session.Ended:
			delete(open, e.Record.Session)
		}
	}
	for _, n := range all {
		if n.n > taken {
			records = append(records, n.record)
		}
	}
	return records, r.damaged
}

// endLost ends the sessions that a dead life left open.
func (j *Journal) endLost(dead *life, open map[string]session.Record) error {
	if len(open) == 0 {
		return nil
	}
	j.mu.Lock()
	at := j.clk.Now().Add(j.offset)
	taken := j.taken
	j.mu.Unlock()
	var records []session.Record
	for _, o := range open {
		r := session.Record{
			Session: o.Session, Phase: session.Ended, At: later(at, o.At), Grant: o.Grant, Target: o.Target, Person: o.Person, From: o.From, To: o.To, Opened: o.At,
			End: session.EndLost, Words: "the process that led there died; found when it started again",
		}
		for _, ending := range []string{rawEnding, closedEnding} {
			if info, err := os.Stat(filepath.Join(dead.dir, o.Session+ending)); err == nil && info.Size() > 0 {
				r.Recording = o.Session
			}
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b session.Record) int {
		if c := a.Opened.Compare(b.Opened); c != 0 {
			return c
		}
		return strings.Compare(a.Session, b.Session)
	})
	j.log.Warn("sessions were open when this process died", "sessions", len(records))
	j.writing.Lock()
	defer j.writing.Unlock()
	err := j.append(records, taken)
	signal(j.news)
	return err
}
