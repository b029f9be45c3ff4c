package files

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Bounds of what a lane holds before it is flushed.
const (
	maxMemory = 4 << 20 // of rows; what is more waits on the disk
	maxOpen   = 256     // files
)

// lane is the files that one lane has begun. They are all written in one flush, so that a file which is written again after a crash, by
// whatever flush, begins with the same row and has the same name.
type lane struct {
	dir, name string
	open      map[key]*pending
	order     []*pending // as they were begun
	began     time.Time
	memory    int
	bytes     int64
	spool     *os.File
	end       int64 // of spool
}

// key tells the files of a lane apart.
type key struct {
	path string
	end  string // of the window
}

// pending is a file that is not written yet.
type pending struct {
	path, name string
	rows       int
	bytes      int64
	parts      []extent // in the spool, then
	tail       []byte
	written    bool // by a flush that failed at another
}

type extent struct{ from, n int64 }

// spill moves all rows from memory to the disk.
func (l *lane) spill(number int) error {
	if l.spool == nil {
		if err := os.MkdirAll(l.dir, 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(l.dir, strconv.Itoa(number)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		l.spool = f
	}
	at := l.end
	for _, p := range l.order {
		if _, err := l.spool.WriteAt(p.tail, at); err != nil {
			return err // and nothing is taken from memory
		}
		at += int64(len(p.tail))
	}
	at = l.end
	for _, p := range l.order {
		if n := int64(len(p.tail)); n > 0 {
			if k := len(p.parts); k > 0 && p.parts[k-1].from+p.parts[k-1].n == at {
				p.parts[k-1].n += n
			} else {
				p.parts = append(p.parts, extent{at, n})
			}
			at += n
			p.tail = nil
		}
	}
	l.end, l.memory = at, 0
	return nil
}

// rows reads what a file has.
func (l *lane) rows(p *pending) io.Reader {
	var list []io.Reader
	for _, x := range p.parts {
		list = append(list, io.NewSectionReader(l.spool, x.from, x.n))
	}
	return io.MultiReader(append(list, bytes.NewReader(p.tail))...)
}

// reset forgets everything.
func (l *lane) reset() {
	clear(l.open)
	l.order, l.memory, l.bytes, l.end = nil, 0, 0, 0
	if l.spool != nil {
		if l.spool.Truncate(0) != nil {
			l.close()
		}
	}
}

// close gives the spool up.
func (l *lane) close() {
	if l.spool != nil {
		_ = l.spool.Close() // nothing in it is needed any more
		_ = os.Remove(l.spool.Name())
		l.spool = nil
	}
}
