package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/audit/syslog"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
)

// Formats of an export.
const (
	exportLines  = "jsonl"
	exportSyslog = "syslog"
)

func newAuditExport(w *world) *cobra.Command {
	x := &auditExport{w: w}
	var since string
	c := &cobra.Command{
		Use: "export", Short: "Write audit records into a file or to a log collector, and keep at it", Args: cobra.NoArgs,
		Long: `Write audit records and their signed checkpoints into a file, as JSON lines that can be checked anywhere (isthmus audit verify --file), or as messages of RFC 5424 into a
file or to a log collector: over TLS (RFC 5425), TCP with octet counting (RFC 6587), UDP or a local socket. What stands in either is told in docs/audit.md.

An export ends where the records ended when it began, with a checkpoint signed then; the file is there whole or not at all. With --follow it goes on until it is
interrupted, waits while the server or the collector is away, and remembers in a small state file how far it got: started again it goes on there.`,
		Example: `  isthmus audit export --to ot-audit.jsonl
  isthmus audit export --since 7d | jq -r 'select(.type == "record") | .who'
  isthmus audit export --follow --format syslog --to tls://logs.example.net --all-tenants`,
	}
	n := addConnection(w, c)
	f := c.Flags()
	f.StringVarP(&x.tenant, "tenant", "t", "", "records of this `TENANT`; your own when absent")
	f.BoolVar(&x.all, "all-tenants", false, "records of every tenant, and the deployment's own")
	f.StringVar(&x.format, "format", "", "`FORMAT`: jsonl or syslog; syslog when --to is a log collector, else jsonl")
	f.StringVar(&x.to, "to", "-", "`FILE`, tls://HOST[:6514], tcp://HOST:PORT, udp://HOST[:514] or unix:/dev/log; - is standard output")
	f.StringVar(&since, "since", "", "not before this `TIME`: 2h, 7d, 2026-11-22 or 2026-11-22T15:40:00Z")
	f.BoolVar(&x.follow, "follow", false, "go on until interrupted")
	f.StringVar(&x.statePath, "state", "", "`FILE` that remembers how far --follow got; FILE.state beside a file, and in the configuration's folder otherwise")
	f.BoolVar(&x.force, "force", false, "write over the file when it is there")
	f.StringVar(&x.collectorCA, "collector-ca", "", "PEM `FILE` with the authority of a collector over TLS; the machine's own when absent")
	f.StringVar(&x.collectorCert, "collector-cert", "", "PEM `FILE` with a certificate to show a collector over TLS")
	f.StringVar(&x.collectorKey, "collector-key", "", "PEM `FILE` with its key")
	f.IntVar(&x.enterprise, "enterprise", syslog.ExampleEnterprise, "your private enterprise `NUMBER`, for the SD-IDs of messages")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{exportLines, exportSyslog}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := x.check(since); err != nil {
			return err
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		x.s, x.tenant = s, first(x.tenant, s.tenant)
		return x.run(c.Context())
	}
	return c
}

// check judges the flags together.
func (x *auditExport) check(since string) (err error) {
	if since != "" {
		if x.since, err = parseSince(since, x.w.clock.Now()); err != nil {
			return err
		}
	}
	x.collector = strings.Contains(x.to, "://") || strings.HasPrefix(x.to, "unix:")
	if x.collector {
		if x.destination, err = syslog.ParseDestination(x.to); err != nil {
			return usagef("%s", fault.Message(err)).advise("%s", fault.Next(err))
		}
	}
	switch {
	case x.format == "" && x.collector:
		x.format = exportSyslog
	case x.format == "":
		x.format = exportLines
	case x.format != exportLines && x.format != exportSyslog:
		return usagef("--format %q is neither %s nor %s", x.format, exportLines, exportSyslog)
	case x.format == exportLines && x.collector:
		return usagef("a log collector takes no JSON lines").advise("leave --format away, or write to a FILE")
	}
	switch {
	case x.all && x.tenant != "":
		return usagef("--tenant and --all-tenants exclude each other")
	case x.statePath != "" && !x.follow:
		return usagef("--state is for --follow")
	case x.enterprise < 1:
		return usagef("--enterprise %d is no private enterprise number", x.enterprise)
	case x.collectorCA+x.collectorCert+x.collectorKey != "" && x.destination.Network != "tls":
		return usagef("--collector-ca, --collector-cert and --collector-key are for --to tls://HOST")
	case (x.collectorCert == "") != (x.collectorKey == ""):
		return usagef("--collector-cert and --collector-key go together")
	}
	return nil
}

// chooseState says where the state is: beside a file, or under a name of its own for each destination of each server.
func (x *auditExport) chooseState(trustDomain string) error {
	switch {
	case !x.follow || x.statePath != "":
	case x.to == "-": // nobody knows what became of what was printed
	case !x.collector:
		x.statePath = x.to + ".state"
	default:
		config, err := x.w.configPath()
		if err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(strings.Join([]string{trustDomain, x.tenant, x.to}, "\x00")))
		x.statePath = filepath.Join(filepath.Dir(config), "audit-"+hex.EncodeToString(sum[:6])+".state")
		x.w.note("how far it got stands in %s", x.statePath)
	}
	return nil
}

// chains names whose records are exported.
func (x *auditExport) chains(ctx context.Context) ([]string, error) {
	if x.all {
		return auditChains(ctx, x.s, "")
	}
	if x.tenant != "" {
		return []string{x.tenant}, nil
	}
	me, err := x.s.WhoAmI(ctx)
	return []string{me.Tenant}, err
}

// firstAfter finds where records begin that are not older than the time.
func (x *auditExport) firstAfter(ctx context.Context, tenant string) (at exportedChain, err error) {
	at.Tenant = tenant
	if x.since.IsZero() {
		return at, nil
	}
	found, err := x.s.Audit(ctx, client.AuditFilter{Tenant: tenant, Since: x.since, Limit: 1})
	if err != nil {
		return at, err
	}
	if len(found) > 0 {
		at.After.Sequence, at.After.Hash = found[0].Sequence-1, found[0].Previous
	} else if found, err = x.s.Audit(ctx, client.AuditFilter{Tenant: tenant, Last: true, Limit: 1}); len(found) > 0 {
		at.After = found[0].Place()
	}
	at.Checkpoint = max(at.After.Sequence-1, 0)
	return at, err
}
