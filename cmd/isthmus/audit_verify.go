package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// auditPatience is how long the server may take to walk every chain.
const auditPatience = 30 * time.Minute

func newAuditVerify(w *world) *cobra.Command {
	v := &auditVerifying{w: w}
	c := &cobra.Command{
		Use: "verify", Short: "Check that no audit record was changed, removed, moved or made up", Args: cobra.NoArgs,
		Long: `Check the chains of audit records: that every record is as it was written, follows the one before it, and that every signed checkpoint names a record that is so.
The server walks its chains; then this program reads every record and walks them itself, so that it believes nobody but the deployment's authority. The first record that
is wrong is named, and what was done to it.

With --file an export is checked instead, without any server; --ca is the deployment's ca.pem. With --checkpoint the records are also held against checkpoints that were
kept elsewhere (isthmus audit checkpoint): only they show that a chain was cut off by somebody who also took the later checkpoints away.`,
		Example: `  isthmus audit verify
  isthmus audit verify --tenant ot --checkpoint ot-audit.checkpoint
  isthmus audit verify --file ot-audit.jsonl --ca ca.pem`,
	}
	n := addConnection(w, c)
	v.out.addTo(c, outTable, outJSON, outYAML)
	f := c.Flags()
	f.StringVarP(&v.tenant, "tenant", "t", "", "only records of this `TENANT`")
	f.StringVar(&v.file, "file", "", "check this `FILE`, an export, and ask no server; - is standard input")
	f.StringVar(&v.ca, "ca", "", "PEM `FILE` with the authority that signs checkpoints; the server's own when absent")
	f.StringArrayVar(&v.kept, "checkpoint", nil, "`FILE` with a checkpoint that was kept elsewhere; may be repeated")
	c.RunE = func(c *cobra.Command, _ []string) error {
		kept, err := readCheckpoints(v.kept)
		if err != nil {
			return err
		}
		var roots []byte
		if v.ca != "" {
			if roots, err = readBounded(v.ca, maxKept); err != nil {
				return fault.Wrap("isthmus.verify", fault.Invalid, err, "the authority's certificate cannot be read: "+err.Error())
			}
		}
		v.line = &liveLine{out: w.err, live: w.terminal, last: w.clock.Now()}
		defer v.line.end()
		v.from = w.clock.Now()
		if v.file != "" {
			if roots == nil {
				return usagef("--ca is missing").advise("give the deployment's ca.pem: isthmus audit verify --file %s --ca ca.pem", v.file)
			}
			if v.tenant != "" {
				return usagef("--tenant does not go with --file: every chain of the file is checked")
			}
			return v.checkFile(roots, kept)
		}
		return v.ask(c.Context(), n, roots, kept)
	}
	return c
}

// auditVerifying is one verification under way.
type auditVerifying struct {
	w              *world
	out            output
	tenant         string
	file, ca       string
	kept           []string
	line           *liveLine
	from           time.Time
	done, of       int
	serverIsBroken error
}

// tick counts one record, and tells of it now and then.
func (v *auditVerifying) tick() {
	if v.done++; v.done%500 == 0 {
		v.line.progress("checked", v.done, v.of, v.from, v.w.clock.Now())
	}
}

func (v *auditVerifying) checkFile(roots []byte, kept []audit.Checkpoint) error {
	in := v.w.in
	if v.file != "-" {
		f, err := os.Open(v.file)
		if err != nil {
			return fault.Wrap("isthmus.verify", fault.NotFound, err, "the export cannot be read: "+err.Error())
		}
		defer f.Close()
		in = f
	}
	list, err := audit.VerifyExport(audit.NewReader(in), roots, kept, v.tick)
	v.line.end()
	if b, ok := errors.AsType[*audit.Break](err); ok {
		return b.Fault("isthmus.verify")
	}
	if err != nil {
		return err
	}
	return v.print(list)
}

// ask lets the server walk its chains, and walks them as well.
func (v *auditVerifying) ask(ctx context.Context, n *connection, roots []byte, kept []audit.Checkpoint) error {
	cfg, own, err := n.resolve()
	if err != nil {
		return err
	}
	cfg.Timeout = auditPatience
	cl, err := client.New(cfg)
	if err != nil {
		return err
	}
	s := &session{Client: cl, w: v.w, server: cfg.Addresses[0], tenant: own}
	defer s.Close()
	done := s.wait()
	err = s.VerifyAudit(ctx)
	done()
	if err != nil && fault.KindOf(err) != fault.Conflict {
		return err
	}
	v.serverIsBroken = err
	if roots == nil {
		if roots = s.Authority(); roots == nil {
			v.w.note("the server's certificate is not of the deployment's authority, so signatures of checkpoints were not checked here: give --ca ca.pem")
		}
	}
	chains, err := auditChains(ctx, s, v.tenant)
	if err != nil {
		return err
	}
	for _, k := range kept {
		if !slices.Contains(chains, k.Tenant) {
			return usagef("a checkpoint is of the records of %s, which are not checked", chainName(k.Tenant)).advise("take it away, or give --tenant %s", k.Tenant)
		}
	}
	list := []audit.Verified{}
	for _, tenant := range chains {
		found, err := v.walk(ctx, s, tenant, roots, kept)
		v.line.end()
		if b, ok := errors.AsType[*audit.Break](err); ok {
			if v.serverIsBroken == nil {
				v.w.note("the server finds nothing wrong: do not believe it")
			}
			return b.Fault("isthmus.verify")
		}
		if err != nil {
			return err
		}
		if found.Last.Sequence > 0 {
			list = append(list, found)
		}
	}
	if v.serverIsBroken != nil {
		return v.serverIsBroken
	}
	return v.print(list)
}

// auditChains names the chains that are meant: one tenant's, or all the principal may read.
func auditChains(ctx context.Context, s *session, tenant string) ([]string, error) {
	me, err := s.WhoAmI(ctx)
	switch {
	case err != nil:
		return nil, err
	case tenant != "":
		return []string{tenant}, nil
	case me.Tenant != "":
		return []string{me.Tenant}, nil
	}
	tenants, err := s.List(ctx, resource.KindTenant, client.Filter{})
	out := []string{""}
	for _, t := range tenants {
		out = append(out, t.Head().Metadata.Name)
	}
	return out, err
}

// walk reads one chain. A fresh checkpoint says where it has to end.
func (v *auditVerifying) walk(ctx context.Context, s *session, tenant string, roots []byte, kept []audit.Checkpoint) (audit.Verified, error) {
	verifier := audit.NewVerifier(tenant, audit.Place{}, roots)
	now, err := s.AuditCheckpoint(ctx, tenant)
	switch {
	case err == nil:
		v.of += int(now.Sequence)
		kept = append(slices.Clone(kept), now)
	case fault.KindOf(err) != fault.Conflict: // a chain that is broken, or empty, gets none, and is walked all the same
		return audit.Verified{}, err
	}
	for _, k := range kept {
		if k.Tenant == tenant {
			if err := verifier.Expect(k); err != nil {
				return audit.Verified{}, err
			}
		}
	}
	w := audit.Walk{Source: s.AuditChain(tenant)}
	if err := w.Run(ctx, func(r audit.Record) error { v.tick(); return verifier.Record(r) }, verifier.Expect); err != nil {
		return audit.Verified{}, err
	}
	if err := verifier.End(nil); err != nil {
		return audit.Verified{}, err
	}
	return audit.Verified{Tenant: tenant, Last: verifier.Last(), Covered: verifier.Covered()}, nil
}

func (v *auditVerifying) print(list []audit.Verified) error {
	if v.out.structured() {
		return v.out.write(v.w, struct {
			Intact bool             `json:"intact"`
			Chains []audit.Verified `json:"chains"`
		}{true, list})
	}
	var rows [][]cell
	for _, c := range list {
		signed := "none"
		if c.Covered.Sequence > 0 {
			signed = fmt.Sprintf("record %d, %s", c.Covered.Sequence, c.Covered.At.UTC().Format("2006-01-02 15:04:05"))
		}
		rows = append(rows, cells(chainName(c.Tenant), itoa(int(c.After+1)), itoa(int(c.Last.Sequence)), signed))
	}
	if len(rows) > 0 {
		v.w.table([]string{"CHAIN", "FROM", "TO", "LAST CHECKPOINT (UTC)"}, rows)
	}
	v.w.printf("the audit records are intact\n")
	for _, c := range list {
		if n := c.Last.Sequence - c.Covered.Sequence; n > 0 && c.Last.Sequence > c.After {
			v.w.note("no checkpoint covers the last %s of %s: whoever made the file could have written them", count(int(min(n, c.Last.Sequence-c.After)), "record"), chainName(c.Tenant))
		}
		if c.Skipped > 0 {
			v.w.note("%s of %s are of records before the first one in the file, and say nothing about it", count(c.Skipped, "checkpoint"), chainName(c.Tenant))
		}
	}
	return nil
}

// progress draws how far something long has got.
func (l *liveLine) progress(what string, done, of int, from, now time.Time) {
	const wide = 24
	text := fmt.Sprintf("%s %d", what, done)
	if of > 0 {
		full := min(done*wide/of, wide)
		text = fmt.Sprintf("%s [%s%s] %d of %d", what, strings.Repeat("#", full), strings.Repeat(".", wide-full), done, of)
	}
	text += fmt.Sprintf(", %.0f a second", float64(done)/max(now.Sub(from).Seconds(), 1e-3))
	switch {
	case l.live:
		l.show(text)
	case l.seldom(now):
		_, _ = fmt.Fprintln(l, text)
	}
}
