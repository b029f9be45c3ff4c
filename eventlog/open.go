package eventlog

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/isthmus-io/isthmus/fault"
)

func (l *Log) options() *pebble.Options {
	o := &pebble.Options{
		FS:                          &patientFS{FS: l.cfg.FS, l: l},
		Lock:                        l.lock,
		Logger:                      storeLogger{l},
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                memTable,
		MemTableStopWritesThreshold: 4,
		CacheSize:                   16 << 20,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64, // files of a log hardly overlap, so many of them do readers no harm, while a stall harms writers
		MaxOpenFiles:                1024,
		FlushDelayDeleteRange:       1e9, // a second: trims are how a full disk gets room again
	}
	o.Experimental.SpanPolicyFunc = l.apart
	return o
}

// roomToOpen refuses what would hang: recovery writes what the store's logs hold into tables, and tries for ever when there is no
// space for them.
func (l *Log) roomToOpen() error {
	u, err := l.cfg.FS.GetDiskUsage(l.cfg.Dir)
	if err != nil {
		return nil //nolint:nilerr // unknown space is no reason to refuse; the first look while running says so
	}
	names, err := l.cfg.FS.List(l.cfg.Dir)
	if err != nil {
		return openFault(l.cfg.Dir, err)
	}
	need := uint64(4 << 20)
	for _, n := range names {
		if strings.HasSuffix(n, ".log") {
			if info, err := l.cfg.FS.Stat(l.cfg.FS.PathJoin(l.cfg.Dir, n)); err == nil {
				need += uint64(info.Size())
			}
		}
	}
	if u.AvailBytes < need {
		return noRoom(l.cfg.Dir, need)
	}
	return nil
}

func noRoom(dir string, need uint64) *fault.Error {
	return fault.Newf("eventlog.Open", fault.Exhausted, "the disk holding %s is full: the event log cannot be opened", dir).
		Advise("free %s on that disk and start again; stored events are safe", sizeWords(need))
}

func openFault(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return noRoom(dir, 64<<20).Because(err)
	}
	return fault.Newf("eventlog.Open", fault.Unavailable, "the event log in %s cannot be opened: %v", dir, err).
		Advise("look at the directory's owner and mode and at the disk; do not delete anything in it").Because(err)
}

func lockFault(dir string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok || errors.Is(err, syscall.ENOSPC) {
		return openFault(dir, err)
	}
	return fault.Newf("eventlog.Open", fault.Conflict, "the event log in %s is in use by another process", dir).
		Advise("stop the other process, or give this one a data directory of its own").Because(err)
}

// load checks the layout and reads where every partition stands.
func (l *Log) load() error {
	if err := l.checkLayout(); err != nil {
		return err
	}
	it, err := l.db.NewIter(nil)
	if err != nil {
		return l.damaged("the list of streams", err)
	}
	known := map[string]*stream{}
	for ok := it.SeekGE([]byte{prefixStream}); ok && it.Key()[0] == prefixStream; ok = it.Next() {
		v, err := it.ValueAndErr()
		m, ok := decodeStreamMeta(v)
		if err != nil || !ok {
			return errors.Join(l.damaged("the list of streams", err), it.Close())
		}
		name := string(it.Key()[1:])
		known[name] = l.newStream(name, m)
	}
	for _, st := range known {
		for i, p := range st.partitions {
			if err := l.loadPartition(it, st, i, p); err != nil {
				return errors.Join(err, it.Close())
			}
		}
		if err := l.loadProducers(it, st); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := it.Close(); err != nil {
		return l.damaged("the list of streams", err)
	}
	l.streams.Store(&known)
	return l.loadNextStream(known)
}

// loadNextStream finds the lowest stream id that was never used.
func (l *Log) loadNextStream(known map[string]*stream) error {
	for _, st := range known {
		l.nextStream = max(l.nextStream, st.id+1)
	}
	v, closer, err := l.db.Get(nextStreamKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil
	case err != nil || len(v) != 4:
		return l.damaged("the list of streams", err)
	}
	defer func() { _ = closer.Close() }()
	l.nextStream = max(l.nextStream, uint32At(v, 0))
	return nil
}

func (l *Log) checkLayout() error {
	v, closer, err := l.db.Get(layoutKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return l.setLayout()
	case err != nil:
		return openFault(l.cfg.Dir, err)
	}
	found := string(v)
	_ = closer.Close()
	switch found {
	case string(rune(layout)):
		return nil
	case string(rune(firstLayout)): // all it has can be read as it is
		return l.setLayout()
	}
	return fault.Newf("eventlog.Open", fault.Invalid, "the event log in %s was written by a newer release (layout %v)", l.cfg.Dir, []byte(found)).
		Advise("start the release that wrote it, or a newer one")
}

// setLayout is not synced by itself: the first commit's fsync covers it.
func (l *Log) setLayout() error {
	if err := l.db.Set(layoutKey, []byte{layout}, pebble.NoSync); err != nil {
		return openFault(l.cfg.Dir, err)
	}
	return nil
}

// loadPartition takes the newest of the record a trim left and the last event's header.
func (l *Log) loadPartition(it *pebble.Iterator, st *stream, i int, p *partition) error {
	e := ends{lastOffset: -1}
	v, closer, err := l.db.Get(boundsKey(st.id, i))
	switch {
	case err == nil:
		var ok bool
		e, ok = decodeEnds(v)
		if err := closer.Close(); err != nil || !ok {
			return l.damaged(st.name, err)
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return l.damaged(st.name, err)
	}
	if it.SeekLT(eventKey(st.id, i, -1)) && bytes.HasPrefix(it.Key(), eventKey(st.id, i, 0)[:partitionKeyLen]) {
		rec, err := it.ValueAndErr()
		if err != nil {
			return l.damaged(st.name, err)
		}
		enqueued, offset, err := header(rec)
		if err != nil {
			return l.damaged(st.name, err)
		}
		if seq := sequenceOf(it.Key()); seq >= e.next {
			e.next, e.lastOffset, e.nextOffset, e.lastEnqueued = seq+1, offset, offset+int64(len(rec)), enqueued
		}
	}
	p.tail = e
	p.durable.Store(&e)
	p.cut.Store(e.first)
	return nil
}
