package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/audit/syslog"
	"github.com/isthmus-io/isthmus/fault"
)

const (
	exportEvery   = 2 * time.Second  // how often --follow looks
	exportPatient = 30 * time.Second // how seldom, while somebody is away
	tenantsEvery  = time.Minute      // how often --all-tenants looks for new ones
	settleEvery   = 1000             // records after which what was exported is written down
)

// errThrough ends a walk where the export ends.
var errThrough = errors.New("through")

// auditExport is one export under way.
type auditExport struct {
	w *world
	s *session

	tenant, format, to string
	all, follow, force bool
	since              time.Time
	statePath          string
	collectorCA        string
	collectorCert      string
	collectorKey       string
	enterprise         int
	collector          bool
	destination        syslog.Destination

	sink   auditSink
	domain string
	state  exportState
	ways   map[string]*exportWay
	line   *liveLine
	from   time.Time
	done   int
	of     int
	asked  time.Time // when tenants were last listed
	broken error     // the first break of a chain
}

// exportWay is how one chain is gone through.
type exportWay struct {
	walk    audit.Walk
	check   *audit.Verifier // nil once the chain is found to be broken
	place   audit.Place
	through int64 // 0: no end
}

func (x *auditExport) run(ctx context.Context) error {
	done := x.s.wait()
	version, err := x.s.Version(ctx)
	done()
	if err != nil {
		return err
	}
	x.domain, x.ways, x.from = version.TrustDomain, map[string]*exportWay{}, x.w.clock.Now()
	x.line = &liveLine{out: x.w.err, live: x.w.terminal && x.to != "-", last: x.from}
	defer x.line.end()
	if err := x.chooseState(x.domain); err != nil {
		return err
	}
	if x.state, err = x.readState(); err != nil {
		return err
	}
	header, err := x.begin(ctx)
	if err != nil {
		return err
	}
	if x.sink, err = x.openSink(header); err != nil {
		return err
	}
	if x.follow {
		err = x.goOn(ctx)
	} else {
		err = x.round(ctx)
	}
	x.line.end()
	if err == nil {
		err = x.settle(context.WithoutCancel(ctx))
	}
	if e := x.sink.close(err == nil); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if x.to != "-" {
		x.w.printf("%s written to %s\n", count(x.done, "record"), x.to)
	}
	return x.broken
}

// begin finds out where each chain begins, and where it ends unless it is followed.
func (x *auditExport) begin(ctx context.Context) (audit.Header, error) {
	header := audit.Header{Format: audit.Format, Version: audit.Version, TrustDomain: x.domain, At: x.w.clock.Now().UTC().Round(0)}
	chains, err := x.chains(ctx)
	if err != nil {
		return header, err
	}
	x.asked = x.w.clock.Now()
	for _, tenant := range chains {
		at, known := x.state.chain(tenant)
		if !known {
			if at, err = x.firstAfter(ctx, tenant); err != nil {
				return header, err
			}
		} else if err := x.sameAsBefore(ctx, at); err != nil {
			return header, err
		}
		way := x.way(at)
		if !x.follow {
			c, err := x.s.AuditCheckpoint(ctx, tenant)
			switch {
			case err == nil:
				way.through = c.Sequence
				x.of += int(max(c.Sequence-at.After.Sequence, 0))
			case fault.KindOf(err) != fault.Conflict: // an empty chain, or a broken one, which is exported as evidence
				return header, err
			}
		}
		header.Chains = append(header.Chains, audit.Part{Tenant: tenant, After: at.After, Through: way.through})
	}
	return header, nil
}

func (x *auditExport) way(at exportedChain) *exportWay {
	way := &exportWay{
		walk:  audit.Walk{Source: x.s.AuditChain(at.Tenant), After: at.After.Sequence, Checkpoint: at.Checkpoint},
		check: audit.NewVerifier(at.Tenant, at.After, x.s.Authority()), place: at.After,
	}
	x.ways[at.Tenant] = way
	return way
}

// sameAsBefore makes sure that the server still has the last record that was exported.
func (x *auditExport) sameAsBefore(ctx context.Context, at exportedChain) error {
	if at.After.Sequence == 0 {
		return nil
	}
	found, err := x.s.AuditChain(at.Tenant).Records(ctx, at.After.Sequence-1, 1)
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].Place() != at.After {
		return fault.Newf("isthmus.export", fault.Conflict, "the server does not have record %d of %s any more as it was exported before", at.After.Sequence, chainName(at.Tenant)).
			Advise("its records were changed, cut off, or restored from a backup: keep what was exported, look with isthmus audit verify, and begin another export with another --to or --state")
	}
	return nil
}

// goOn exports what comes until the context ends.
func (x *auditExport) goOn(ctx context.Context) error {
	away, wait := false, exportEvery
	for {
		err := x.round(ctx)
		if err == nil {
			err = x.settle(ctx)
		}
		switch kind := fault.KindOf(err); {
		case ctx.Err() != nil && (err == nil || kind == fault.Unavailable || kind == fault.Timeout):
			return nil //nolint:nilerr // the user interrupted, which is how following ends
		case err != nil && (kind == fault.Unavailable || kind == fault.Timeout):
			if !away {
				x.w.note("%s; trying again", fault.Message(err))
			}
			away, wait = true, min(wait*2, exportPatient)
		case err != nil:
			return err
		case away:
			x.w.note("it goes on after %s", count(x.done, "record"))
			away, wait = false, exportEvery
		}
		fired, stop := x.w.clock.After(wait)
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-fired:
		}
	}
}

// round exports what is there of every chain.
func (x *auditExport) round(ctx context.Context) error {
	if now := x.w.clock.Now(); x.all && x.follow && now.Sub(x.asked) >= tenantsEvery {
		chains, err := x.chains(ctx)
		if err != nil {
			return err
		}
		x.asked = now
		for _, tenant := range chains {
			if x.ways[tenant] == nil {
				x.way(exportedChain{Tenant: tenant})
			}
		}
	}
	tenants := make([]string, 0, len(x.ways))
	for tenant := range x.ways {
		tenants = append(tenants, tenant)
	}
	slices.Sort(tenants)
	for _, tenant := range tenants {
		if err := x.chain(ctx, x.ways[tenant]); err != nil {
			return err
		}
	}
	return nil
}

// chain exports what is there of one.
func (x *auditExport) chain(ctx context.Context, way *exportWay) error {
	err := way.walk.Run(ctx, func(r audit.Record) error {
		if way.through > 0 && r.Sequence > way.through {
			return errThrough
		}
		if err := x.sink.write(ctx, audit.Line{Record: &r}); err != nil {
			return err
		}
		way.place = r.Place()
		if way.check != nil {
			x.found(way, way.check.Record(r))
		}
		if x.done++; x.done%settleEvery == 0 {
			x.line.progress("exported", x.done, x.of, x.from, x.w.clock.Now())
		}
		return nil
	}, func(c audit.Checkpoint) error {
		if err := x.sink.write(ctx, audit.Line{Checkpoint: &c}); err != nil {
			return err
		}
		if way.check != nil {
			x.found(way, way.check.Expect(c))
		}
		return nil
	})
	if err != nil && !errors.Is(err, errThrough) {
		return err
	}
	if !x.follow && way.check != nil {
		x.found(way, way.check.End(audit.AtLeast(way.through)))
	}
	return nil
}

// found tells of a chain that is broken, once. It is exported all the same.
func (x *auditExport) found(way *exportWay, err error) {
	b, ok := errors.AsType[*audit.Break](err)
	if !ok {
		return
	}
	way.check = nil
	if x.follow {
		x.w.note("%s", b.Error())
	} else if x.broken == nil {
		x.broken = b.Fault("isthmus.export")
	}
}

// settle makes sure of what was written and then writes down how far that is.
func (x *auditExport) settle(ctx context.Context) error {
	size, err := x.sink.settle(ctx)
	if err != nil || x.statePath == "" {
		return err
	}
	next := exportState{Format: stateFormat, Version: stateVersion, TrustDomain: x.domain, To: x.to, Size: size}
	for tenant, way := range x.ways {
		next.Chains = append(next.Chains, exportedChain{Tenant: tenant, After: way.place, Checkpoint: way.walk.Checkpoint})
	}
	return x.writeState(next)
}
