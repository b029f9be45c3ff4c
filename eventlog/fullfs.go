package eventlog

import (
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// patientFS keeps a disk without a byte left from ending the log. The reserve makes that rare, but others write to the disk too.
//
// A write to the store's journals (its log and its manifest), which it cannot survive failing, waits until it succeeds: what write(2)
// refuses for want of space it has not taken, so asking again is safe. A failed fsync is never repeated, since the kernel may have
// dropped the pages. A write to a table fails after a pause, upon which the store throws the unfinished table away and, for the pause,
// does not try again in a circle.
//
// While a journal waits, appends are refused at the door; see Log.stuck. When the log is told to stop, the wait is given up.
type patientFS struct {
	vfs.FS
	l *Log
}

func (p *patientFS) Unwrap() vfs.FS { return p.FS }

func journal(name string) bool {
	base := filepath.Base(name)
	return strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST") || strings.HasPrefix(base, "marker.")
}

func (p *patientFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	var f vfs.File
	err := p.try(name, func() (err error) { f, err = p.FS.Create(name, category); return err })
	return p.wrap(name, f), err
}

func (p *patientFS) ReuseForWrite(from, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	var f vfs.File
	err := p.try(name, func() (err error) { f, err = p.FS.ReuseForWrite(from, name, category); return err })
	return p.wrap(name, f), err
}

func (p *patientFS) wrap(name string, f vfs.File) vfs.File {
	if f == nil {
		return nil
	}
	return &patientFile{File: f, fs: p, name: name}
}

// try does something that needs space, again and again if it is for a journal.
func (p *patientFS) try(name string, do func() error) error {
	for waited := false; ; waited = true {
		err := do()
		switch {
		case err == nil && waited:
			p.l.unstick()
			return nil
		case err == nil || !vfs.IsNoSpaceError(err) || !p.l.opened.Load():
			return err
		case !journal(name):
			p.l.pause()
			return err
		}
		p.l.stick()
		if !p.l.pause() {
			return err
		}
	}
}

type patientFile struct {
	vfs.File
	fs   *patientFS
	name string
}

func (f *patientFile) Write(b []byte) (int, error) {
	done := 0
	err := f.fs.try(f.name, func() error {
		n, err := f.File.Write(b[done:])
		if done += n; err == nil && done < len(b) {
			err = io.ErrShortWrite
		}
		return err
	})
	return done, err
}

// pause waits for Config.DiskCheck and reports whether to go on.
func (l *Log) pause() bool {
	fired, stop := l.clk.After(l.cfg.DiskCheck)
	defer stop()
	select {
	case <-fired:
		return true
	case <-l.over:
		return false
	case <-l.halt:
		return false
	}
}

func (l *Log) stick() {
	if l.stuck.CompareAndSwap(false, true) {
		l.log.Error("the disk has no space at all: the event log waits for some", "dir", l.cfg.Dir)
	}
}

func (l *Log) unstick() {
	if l.stuck.CompareAndSwap(true, false) {
		l.log.Info("the disk has space again: the event log goes on", "dir", l.cfg.Dir)
	}
}

// fullness is what patientFS tells the rest of the log.
type fullness struct {
	opened atomic.Bool   // from here on it waits for space; opening fails instead
	stuck  atomic.Bool   // a journal waits for space
	halt   chan struct{} // closed when Run's context ends: waiting is over
}
