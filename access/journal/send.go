package journal

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
)

// Sender brings to the control plane what the journal has. No error means that it is there for good. Errors of the kinds Invalid, Denied
// and TooLarge (for recordings NotFound and Conflict too) mean that it will never be taken; after any other it is tried again.
type Sender interface {
	// Sessions brings records, in order. What it is given again must do no harm.
	Sessions(ctx context.Context, records []session.Record) error
	// Recording brings what was recorded of a session, size bytes whose SHA-256 is sha256 in hexadecimal.
	Recording(ctx context.Context, session string, size int64, sha256 string, content io.Reader) error
}

const (
	batchRecords = 100
	batchBytes   = 256 << 10 // about; one record may be more
	lookEvery    = time.Minute
	syncEvery    = 2 * time.Second
	lastWords    = 2 * time.Second // what there is for a last attempt to send when Run ends
	sendBase     = 500 * time.Millisecond
	sendPause    = time.Minute
	refusals     = 3 // of a recording, before it is set aside
)

// Run takes over what earlier lives left, writes what is noted and sends it, until ctx ends. Then it writes what waits, and tries for two
// seconds to send it. A note after that goes to the disk by itself, for the next life to send.
func (j *Journal) Run(ctx context.Context, to Sender) error {
	var all sync.WaitGroup
	all.Go(func() { j.keep(ctx) })
	all.Go(func() { j.sendRecords(ctx, to) })
	all.Go(func() { j.sendRecordings(ctx, to) })
	all.Wait()
	j.mu.Lock()
	j.direct = true
	j.mu.Unlock()
	j.commit()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	var at cursor
	for {
		b, ok, err := j.nextBatch(&at)
		if err != nil || !ok || j.deliver(last, to, b) != nil {
			break
		}
		at = b.end
	}
	j.commit()
	return nil
}

// keep is the goroutine of the disk.
func (j *Journal) keep(ctx context.Context) {
	var wait backoff.Backoff
	j.inherit()
	looked, synced := j.clk.Now(), j.clk.Now()
	for {
		well := j.commit()
		now := j.clk.Now()
		pause := lookEvery
		if j.anyDirty() {
			if now.Sub(synced) >= syncEvery {
				j.syncRecordings()
				synced = now
			} else {
				pause = synced.Add(syncEvery).Sub(now)
			}
		}
		wake := j.wake
		if well {
			wait.Reset()
		} else {
			pause, wake = wait.Next(), nil
		}
		again, stop := j.clk.After(pause)
		select {
		case <-again:
		case <-wake:
		case <-ctx.Done():
			stop()
			return
		}
		stop()
		if now := j.clk.Now(); now.Sub(looked) >= lookEvery {
			j.inherit()
			looked = now
		}
	}
}

// A cursor is where the goroutine that sends records reads.
type cursor struct {
	segment uint64
	offset  int64
}

// A batch is some records to be sent, from a segment or, while the disk refuses, from memory.
type batch struct {
	records []numbered
	notes   []*note // from memory: where the records are from
	end     cursor
}

// nextBatch returns what comes after at; ok is false when there is nothing now.
func (j *Journal) nextBatch(at *cursor) (b batch, ok bool, err error) {
	for {
		j.mu.Lock()
		var seg *segment
		for _, s := range j.segments {
			if s.number > at.segment || s.number == at.segment && at.offset < s.size {
				seg = s
				break
			}
		}
		taken := j.taken
		if seg == nil {
			if j.refusing {
				for _, n := range j.waiting[:min(len(j.waiting), batchRecords)] {
					b.notes = append(b.notes, n)
					b.records = append(b.records, numbered{record: n.record})
				}
			}
			j.mu.Unlock()
			b.end = *at
			return b, len(b.notes) > 0, nil
		}
		if seg.number > at.segment {
			*at = cursor{segment: seg.number}
		}
		path, size := seg.path, seg.size
		j.mu.Unlock()
		records, end, damaged, err := readFrom(path, at.offset, size)
		if errors.Is(err, fs.ErrNotExist) { // dropped this moment
			*at = cursor{at.segment, size}
			continue
		}
		if err != nil {
			return b, false, diskFault("journal.read", "cannot read "+path, err)
		}
		if damaged > 0 {
			j.trouble("damaged", "the journal of sessions was damaged on this machine's disk", damagedFault(path, damaged))
		}
		b.end = cursor{at.segment, end}
		for _, r := range records {
			if r.n > taken {
				b.records = append(b.records, r)
			}
		}
		if len(b.records) > 0 {
			return b, true, nil
		}
		*at = b.end
	}
}

// deliver sends a batch. Records that are refused for good are set aside; after another error what was sent is known.
func (j *Journal) deliver(ctx context.Context, to Sender, b batch) error {
	all := make([]session.Record, len(b.records))
	for i, r := range b.records {
		all[i] = r.record
	}
	err := to.Sessions(ctx, all)
	if err == nil {
		j.took(b, 0, len(all))
		return nil
	}
	if !final(err) {
		return err
	}
	for i := range all { // which one is it?
		if len(all) > 1 {
			err = to.Sessions(ctx, all[i:i+1])
		}
		if final(err) {
			j.setAside(&all[i], err)
			err = nil
		}
		if err != nil {
			return err
		}
		j.took(b, i, i+1)
	}
	return nil
}

func final(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Denied, fault.TooLarge:
		return err != nil
	}
	return false
}

// took notes that records of a batch need no sending any more.
func (j *Journal) took(b batch, from, until int) {
	j.mu.Lock()
	if b.notes == nil {
		j.taken = max(j.taken, b.records[until-1].n)
	} else {
		for _, n := range b.notes[from:until] {
			if i := slices.Index(j.waiting, n); i >= 0 { // else the disk has it meanwhile, and it is sent twice
				j.waiting = slices.Delete(j.waiting, i, i+1)
				j.waitBytes -= n.size
				j.follow(&n.record, 0)
			}
		}
	}
	j.mu.Unlock()
	signal(j.wake)
	signal(j.newsIn)
}

// sendRecords is the goroutine that sends records.
func (j *Journal) sendRecords(ctx context.Context, to Sender) {
	wait := backoff.Backoff{Base: sendBase, Max: sendPause}
	var at cursor
	for {
		b, ok, err := j.nextBatch(&at)
		if err == nil && !ok {
			select {
			case <-j.news:
				continue
			case <-ctx.Done():
				return
			}
		}
		if err == nil {
			err = j.deliver(ctx, to, b)
		}
		if ctx.Err() != nil {
			return
		}
		j.trouble("sending", "the control plane does not take records of sessions; they are kept here until it does", err)
		if err == nil {
			at = b.end
			wait.Reset()
		} else if !wait.Wait(ctx, j.clk) {
			return
		}
	}
}
