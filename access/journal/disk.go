package journal

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

// A segment is a file of lines. All but the last are complete.
type segment struct {
	number uint64
	path   string
	size   int64  // bytes that were fsynced, or are marks
	first  uint64 // numbers of its records; first is last+1 while it has none
	last   uint64
}

const segmentEnding = ".log"

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%012d%s", number, segmentEnding))
}

// segmentBytes is after how many bytes another segment begins.
func (j *Journal) segmentBytes() int64 { return min(largestSegment, j.cfg.MaxBytes/8) }

// commit brings what waits to the disk, and gives away what the disk holds in vain. It tells whether there is nothing left to do.
func (j *Journal) commit() bool {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	notes := j.waiting
	j.waiting = nil
	taken, marked := j.taken, j.marked
	dropped := j.dropped
	j.dropped = 0
	j.mu.Unlock()
	var err error
	if len(notes) > 0 || taken > marked {
		records := make([]session.Record, len(notes))
		for i, n := range notes {
			records[i] = n.record
		}
		if dropped > 0 && len(records) > 0 {
			records[0].Words = droppedWords(dropped, records[0].Words)
			dropped = 0
		}
		err = j.append(records, taken)
	}
	j.mu.Lock()
	j.dropped += dropped
	j.refusing = err != nil
	if err != nil {
		j.waiting = append(notes, j.waiting...)
	} else {
		for _, n := range notes {
			j.waitBytes -= n.size
		}
	}
	waits := len(j.waiting)
	j.mu.Unlock()
	j.trouble("disk", fmt.Sprintf("records of sessions are not on this machine's disk, and only in memory until the control plane takes them (%s)", about(waits)), err)
	signal(j.news)
	signal(j.newsIn)
	if err == nil {
		j.tidy()
	}
	return err == nil
}

// about keeps a growing number from being a new problem each time.
func about(n int) string {
	for _, bound := range []int{1, 10, 100, 1000, 10000} {
		if n <= bound {
			return "up to " + strconv.Itoa(bound)
		}
	}
	return "very many"
}

func droppedWords(n int, words string) string {
	text := fmt.Sprintf("before this, %d records of sessions were dropped by this machine, whose journal was full", n)
	if words != "" {
		text += "; " + words
	}
	return strings.ToValidUTF8(text[:min(len(text), session.MaxText)], "") // half a character would be longer on its way
}

// append writes records, and how far the control plane has them, to the last segment with one fsync. When it fails, none of them is there.
// writing is held.
func (j *Journal) append(records []session.Record, taken uint64) error {
	if j.file == nil {
		if err := j.begin(); err != nil {
			return diskFault("journal.write", "a file cannot be made in "+j.life.dir, err)
		}
	}
	j.mu.Lock()
	n := j.next
	seg := j.segments[len(j.segments)-1]
	j.mu.Unlock()
	var b []byte
	var err error
	kept := records[:0:0]
	for i := range records {
		b, err = appendLine(b, &entry{N: n + 1, Record: &records[i]})
		if err != nil {
			j.log.Error("a record of a session cannot be written and is lost", "session", records[i].Session, "error", err)
			continue
		}
		n++
		kept = append(kept, records[i])
	}
	if b, err = appendLine(b, &entry{Taken: taken}); err != nil {
		return err
	}
	_, err = j.file.WriteAt(b, seg.size)
	if err == nil && len(kept) > 0 { // a mark that is lost costs a repeat
		err = j.file.Sync()
	}
	if err != nil { // what reached the disk is not known: what comes next goes to another file
		j.shut()
		return diskFault("journal.write", "cannot write "+seg.path, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	seg.size += int64(len(b))
	seg.last, j.next = n, n
	j.marked = taken
	for i := range kept {
		j.follow(&kept[i], n-uint64(len(kept)-1-i))
	}
	if seg.size >= j.segmentBytes() {
		j.shut()
	}
	return nil
}

// follow keeps account, with mu held, of what a record on disk means.
func (j *Journal) follow(r *session.Record, n uint64) {
	switch r.Phase {
	case session.Opened:
		j.open[r.Session] = *r
	case session.Ended:
		delete(j.open, r.Session)
		if rec := j.recordings[r.Session]; rec != nil {
			rec.told, rec.after = true, n
		}
	}
}

func (j *Journal) shut() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}

// begin makes the next segment. It repeats which sessions are open, so that the segments before it can go.
func (j *Journal) begin() error {
	j.mu.Lock()
	j.begun++ // never the number of a segment that was: readers remember how far they came in it
	seg := &segment{number: j.begun, path: segmentPath(j.life.dir, j.begun), first: j.next + 1, last: j.next}
	head := entry{Taken: j.taken}
	var b []byte
	var err error
	for _, r := range j.open {
		if head.Open = append(head.Open, r); len(head.Open) == 1000 {
			if b, err = appendLine(b, &head); err != nil {
				break
			}
			head.Open = nil
		}
	}
	j.mu.Unlock()
	if err == nil {
		b, err = appendLine(b, &head)
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(seg.path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = keepfile.SyncFolder(j.life.dir)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(seg.path) // the error above is what matters
		return err
	}
	seg.size = int64(len(b))
	j.file = f
	j.mu.Lock()
	j.segments = append(j.segments, seg)
	j.mu.Unlock()
	return nil
}

// tidy deletes segments of which nothing is needed, and the oldest ones while there is too much. writing is held.
func (j *Journal) tidy() {
	for {
		j.mu.Lock()
		var total int64
		for _, s := range j.segments {
			total += s.size
		}
		if len(j.segments) == 0 || len(j.segments) == 1 && j.file != nil {
			j.mu.Unlock()
			break
		}
		s := j.segments[0]
		lost := 0
		if s.last > j.taken {
			if total <= j.cfg.MaxBytes {
				j.mu.Unlock()
				break
			}
			lost = int(s.last - max(j.taken, s.first-1))
		}
		j.mu.Unlock()
		if err := os.Remove(s.path); err != nil && !os.IsNotExist(err) {
			j.trouble("tidy", "cannot delete "+s.path, diskFault("journal.tidy", plainCause(err), err))
			break
		}
		j.trouble("tidy", "", nil)
		j.mu.Lock()
		j.segments = j.segments[1:]
		j.taken = max(j.taken, s.last)
		j.dropped += lost
		j.mu.Unlock()
		if lost > 0 {
			j.log.Error("the journal of sessions is full: records were dropped that the control plane does not have", "records", lost, "bytes", j.cfg.MaxBytes)
		}
	}
}

// readFrom reads records between two offsets of a segment, about a batch of them. It returns where to go on.
func readFrom(path string, offset, size int64) (records []numbered, end int64, damaged int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, offset, 0, err
	}
	defer f.Close()
	r := newReader(io.NewSectionReader(f, offset, size-offset))
	for len(records) < batchRecords && r.offset < batchBytes {
		e, ok := r.next()
		if !ok {
			return records, size, r.damaged + r.pending, nil
		}
		if e.Record != nil {
			records = append(records, numbered{e.N, *e.Record})
		}
	}
	return records, offset + r.offset, r.damaged + r.pending, nil
}

type numbered struct {
	n      uint64
	record session.Record
}

// diskFault says in words what the disk did.
func diskFault(op, words string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(op, fault.Exhausted, words+": "+plainCause(err)).Because(err).Advise("free some space, or see to the rights of the folder")
}
