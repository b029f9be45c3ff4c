package eventlog

import (
	"fmt"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// checkAfter is how much may be written on one look at the free space.
const checkAfter = 8 << 20

// disk keeps appends away from the last bytes of the disk. It belongs to the committer.
type disk struct {
	*Log
	next    time.Time // when what is known is too old
	written int       // since the last look
	full    *fault.Error
	blind   bool // the last look failed
}

func newDisk(l *Log) *disk { return &disk{Log: l} }

func (d *disk) wrote(n int) { d.written += n }

// check returns why appends must be refused, or nil.
func (d *disk) check() error {
	now := d.clk.Now()
	if d.written >= checkAfter || !now.Before(d.next) || now.Add(d.cfg.DiskCheck).Before(d.next) {
		d.next, d.written = now.Add(d.cfg.DiskCheck), 0
		d.look()
	}
	if d.full != nil {
		return d.full
	}
	return nil
}

func (d *disk) look() {
	u, err := d.cfg.FS.GetDiskUsage(d.cfg.Dir)
	if err != nil {
		if !d.blind {
			d.log.Warn("the free space of the event log's disk is unknown: a full disk will end the process", "dir", d.cfg.Dir, "err", err)
		}
		d.blind, d.full = true, nil
		return
	}
	d.blind = false
	d.metrics.free.Set(float64(u.AvailBytes))
	reserve := d.cfg.Reserve
	if reserve == 0 {
		reserve = min(max(u.TotalBytes/100, 64<<20), 1<<30)
	}
	switch {
	case u.AvailBytes >= reserve:
		if d.full != nil {
			d.log.Info("the disk has room again: events are accepted", "dir", d.cfg.Dir, "free", sizeWords(u.AvailBytes))
		}
		d.full = nil
		return
	case d.full == nil:
		d.log.Error("the disk is full: no events are accepted", "dir", d.cfg.Dir, "free", sizeWords(u.AvailBytes), "reserve", sizeWords(reserve))
	}
	d.full = fault.Newf("eventlog.Append", fault.Exhausted,
		"the disk holding %s is full: %s free of %s, and the last %s are kept in reserve; the event was not stored",
		d.cfg.Dir, sizeWords(u.AvailBytes), sizeWords(u.TotalBytes), sizeWords(reserve)).Advise(makeRoom)
}

const makeRoom = "free space on that disk or shorten the retention; stored events are safe and readable, and new ones are accepted " +
	"by themselves once there is room"

// noSpace refuses an append while a journal waits for space.
func (l *Log) noSpace() error {
	return fault.Newf("eventlog.Append", fault.Exhausted, "the disk holding %s is full to the last byte; the event was not stored", l.cfg.Dir).
		Advise(makeRoom)
}

func sizeWords(n uint64) string {
	const unit = 1 << 20
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	default:
		return fmt.Sprintf("%.1f MiB", float64(n)/unit)
	}
}
