package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

// A recording is a file that grows while its session lasts. It is the io.WriteCloser of Recording.
type recording struct {
	j       *Journal
	session string
	file    *os.File // nil: it came from a dead life
	once    sync.Once

	// under Journal.mu
	size   int64
	dirty  bool   // written since the last fsync
	closed bool   // complete, under its last name
	told   bool   // the session's end was noted,
	after  uint64 // with this number; 0: it is not in a segment, and needs no waiting for
	tries  int    // how often the control plane said no
}

// Recording begins the recording of a session, named by its id. What is written is on disk a few seconds later, and goes to the control plane
// after Close, once the session has ended. Exhausted when there is no room for recordings: the session must not begin then; Write fails
// in the same way when the room ends later.
func (j *Journal) Recording(session string) (io.WriteCloser, error) {
	op := "journal.Recording"
	if !sessionID(session) {
		return nil, fault.New(op, fault.Invalid, "this is no session's id")
	}
	r := &recording{j: j, session: session}
	j.mu.Lock()
	full := j.recorded >= j.cfg.MaxRecordings
	twice := j.recordings[session] != nil
	if !full && !twice {
		j.recordings[session] = r
	}
	j.mu.Unlock()
	if full {
		return nil, j.full(op)
	}
	if twice {
		return nil, fault.New(op, fault.Conflict, "the session is being recorded already")
	}
	f, err := os.OpenFile(r.path(rawEnding), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		j.forget(r)
		return nil, diskFault(op, "a recording cannot be kept on this machine's disk", err)
	}
	r.file = f
	return r, nil
}

func (j *Journal) full(op string) error {
	return fault.Newf(op, fault.Exhausted, "the recordings on this machine that the control plane has not taken have reached %d MiB", j.cfg.MaxRecordings>>20).
		Advise("see in the log of this process why the control plane does not take them, and look into %s", j.refusedDir())
}

func sessionID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

func (r *recording) path(ending string) string {
	return filepath.Join(r.j.life.dir, r.session+ending)
}

// Write appends to the recording. Its error is for the session's owner, who must end the session.
func (r *recording) Write(p []byte) (int, error) {
	op := "journal.Write"
	j := r.j
	j.mu.Lock()
	if r.closed || j.recorded+int64(len(p)) > j.cfg.MaxRecordings {
		closed := r.closed
		j.mu.Unlock()
		if closed {
			return 0, os.ErrClosed
		}
		return 0, j.full(op)
	}
	j.recorded += int64(len(p))
	r.size += int64(len(p))
	first := !r.dirty
	r.dirty = true
	j.mu.Unlock()
	n, err := r.file.Write(p)
	if n < len(p) {
		j.mu.Lock()
		j.recorded -= int64(len(p) - n)
		r.size -= int64(len(p) - n)
		j.mu.Unlock()
	}
	if first {
		signal(j.wake) // so that it is fsynced in time
	}
	return n, diskFault(op, "the recording cannot be written", err)
}

// Close completes the recording.
func (r *recording) Close() error {
	err := os.ErrClosed
	r.once.Do(func() {
		err = r.file.Sync()
		err = errors.Join(err, r.file.Close())
		err = errors.Join(err, os.Rename(r.path(rawEnding), r.path(closedEnding)))
		if err == nil {
			err = keepfile.SyncFolder(r.j.life.dir)
		}
		r.j.mu.Lock()
		r.closed, r.dirty = true, false
		r.j.mu.Unlock()
		signal(r.j.newsIn)
		err = diskFault("journal.Close", "the recording cannot be written", err)
	})
	return err
}

// anyDirty tells whether something was recorded that is not on disk for certain.
func (j *Journal) anyDirty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.recordings {
		if r.dirty {
			return true
		}
	}
	return false
}

// syncRecordings brings what was recorded to the disk.
func (j *Journal) syncRecordings() {
	j.mu.Lock()
	var dirty []*recording
	for _, r := range j.recordings {
		if r.dirty {
			dirty = append(dirty, r)
			r.dirty = false
		}
	}
	j.mu.Unlock()
	for _, r := range dirty {
		if err := r.file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			j.trouble("recording", "a recording may be incomplete on this machine's disk", diskFault("journal.sync", r.path(rawEnding), err))
		}
	}
}

// forget gives up a recording and its bytes.
func (j *Journal) forget(r *recording) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.recordings[r.session] == r {
		delete(j.recordings, r.session)
		j.recorded -= r.size
	}
}

// takeRecording makes a recording of a dead life ours, complete or not.
func (j *Journal) takeRecording(dead *life, name string) error {
	id, ok := strings.CutSuffix(name, rawEnding)
	if !ok {
		id, ok = strings.CutSuffix(name, closedEnding)
	}
	if !ok || !sessionID(id) {
		return nil
	}
	from := filepath.Join(dead.dir, name)
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return os.Remove(from)
	}
	r := &recording{j: j, session: id, size: info.Size(), closed: true, told: true}
	if err := os.Rename(from, r.path(closedEnding)); err != nil {
		return err
	}
	j.mu.Lock()
	r.after = j.next // the session's end is among what was copied
	j.recordings[id] = r
	j.recorded += r.size
	j.mu.Unlock()
	signal(j.newsIn)
	return nil
}
