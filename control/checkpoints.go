package control

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store"
)

// defaultCheckpointEvery is how often chains that moved get a checkpoint: what happened since can be rewritten unseen by whoever has the
// database and nobody's export.
const defaultCheckpointEvery = 10 * time.Minute

// Checkpoints returns checkpoints of one chain, of records with higher sequences, in order; at most 1000, 100 when limit is 0.
func (c *Control) Checkpoints(ctx context.Context, p Principal, tenant string, after int64, limit int) ([]audit.Checkpoint, error) {
	op := "control.Checkpoints"
	tenant, limit, err := p.chain(op, tenant, limit)
	if err != nil {
		return nil, err
	}
	var out []audit.Checkpoint
	err = c.store.View(ctx, func(tx *store.Tx) (err error) {
		out, err = tx.Checkpoints(tenant, after, limit)
		return err
	})
	return out, err
}

// Checkpoint signs where a chain ends now. Conflict when the chain is broken since its last checkpoint, or has no record.
func (c *Control) Checkpoint(ctx context.Context, p Principal, tenant string) (audit.Checkpoint, error) {
	op := "control.Checkpoint"
	tenant, _, err := p.chain(op, tenant, 0)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	return c.checkpoint(ctx, tenant)
}

// chain decides whose chain the principal means, and whether he may read it.
func (p Principal) chain(op, tenant string, limit int) (string, int, error) {
	if tenant == "" {
		tenant = p.Tenant
	}
	if err := p.mayAudit(op); err != nil {
		return "", 0, err
	}
	if !p.sees(tenant) {
		return "", 0, noSuch(op, tenantKey(tenant))
	}
	if limit < 0 || limit > audit.Page {
		return "", 0, fault.Newf(op, fault.Invalid, "%d records were asked for", limit).
			Advise("ask for at most %d, and for the next after the last one's sequence", audit.Page)
	}
	if limit == 0 {
		limit = 100
	}
	return tenant, limit, nil
}

// checkpoint signs the end of a chain, once the records since its last checkpoint are found to follow each other. The long part of that is
// done before the writers' lock is taken.
func (c *Control) checkpoint(ctx context.Context, tenant string) (audit.Checkpoint, error) {
	roots := c.authority.CertificatePEM()
	var checked audit.Place
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		last, err := tx.LastCheckpoint(tenant)
		if err != nil {
			return err
		}
		if last.Sequence > 0 {
			if err := last.Verify(roots); err != nil {
				return fault.New("control.checkpoint", fault.Conflict, "the last checkpoint of the audit chain is forged: "+fault.Message(err)).
					Advise("look what is the matter: isthmus audit verify")
			}
		}
		checked, err = tx.VerifyAuditAfter(ctx, tenant, last.Place())
		return err
	}); err != nil {
		return audit.Checkpoint{}, err
	}
	var made audit.Checkpoint
	return made, c.store.Update(ctx, func(tx *store.Tx) error {
		head, err := tx.VerifyAuditAfter(ctx, tenant, checked)
		if err != nil {
			return err
		}
		if head.Sequence == 0 {
			return fault.New("control.checkpoint", fault.Conflict, "nothing stands in the audit chain yet").Advise("make a checkpoint once something has been recorded")
		}
		if made, err = audit.SignCheckpoint(c.authority, tenant, head, c.clock.Now()); err != nil {
			return err
		}
		_, err = tx.AddCheckpoint(made)
		return err
	})
}

// checkpointChains makes checkpoints until the context ends, and then once more: the process may not come back.
func (c *Control) checkpointChains(ctx context.Context) {
	for {
		fired, stop := c.clock.After(c.cfg.CheckpointEvery)
		select {
		case <-ctx.Done():
			stop()
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			c.keepCheckpoints(late)
			return
		case <-fired:
			c.keepCheckpoints(ctx)
		}
	}
}

// keepCheckpoints gives every chain that moved its checkpoint. A chain that is broken gets none, and is told of each time.
func (c *Control) keepCheckpoints(ctx context.Context) {
	var moved []string
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		moved, err = tx.AuditMoved()
		return err
	})
	for _, tenant := range moved {
		if ctx.Err() != nil {
			return
		}
		switch _, e := c.checkpoint(ctx, tenant); {
		case fault.KindOf(e) == fault.Conflict:
			c.log.Error("control: an audit chain is broken and gets no checkpoint", "tenant", tenant, "error", e)
		case e != nil:
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		c.log.Warn("control: checkpoints of the audit log could not be written down", "error", err)
	}
}
