package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/fault"
)

func newAuditCheckpoint(w *world) *cobra.Command {
	var (
		out    output
		tenant string
	)
	c := &cobra.Command{
		Use: "checkpoint", Short: "Let the deployment sign where the audit records end now", Args: cobra.NoArgs,
		Long: `Let the deployment's authority sign where a chain of audit records ends now: the number and the hash of its last record. Keep it where nobody reaches who may write to
the deployment's database. Whatever is changed, removed or written anew before that record later is found with it: isthmus audit verify --checkpoint FILE. The deployment
makes checkpoints of its own every ten minutes, which every export has; one kept elsewhere also shows that the end was cut off.`,
		Example: `  isthmus audit checkpoint -o json > ot-audit.checkpoint
  isthmus audit checkpoint --tenant ot`,
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "of records of this `TENANT`; your own when absent")
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		made, err := s.AuditCheckpoint(c.Context(), first(tenant, s.tenant))
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, made)
		}
		w.pairs([2]string{"chain", chainName(made.Tenant)}, [2]string{"record", itoa(int(made.Sequence))}, [2]string{"hash", made.Hash},
			[2]string{"signed", made.At.UTC().Format(time.RFC3339)}, [2]string{"by", made.TrustDomain + ", authority " + made.Authority}, [2]string{"signature", made.Signature})
		w.note("to keep it as a file: isthmus audit checkpoint -o json")
		return nil
	})
	return c
}

// chainName is how a chain stands on the screen.
func chainName(tenant string) string { return first(tenant, "(deployment)") }

// maxKept bounds a file with checkpoints.
const maxKept = 16 << 20

// readCheckpoints reads checkpoints that were kept, one JSON object after the other, from files.
func readCheckpoints(files []string) ([]audit.Checkpoint, error) {
	op := "isthmus.readCheckpoints"
	var out []audit.Checkpoint
	for _, file := range files {
		b, err := readBounded(file, maxKept)
		if err != nil {
			return nil, fault.Newf(op, fault.Invalid, "the checkpoint in %s cannot be read: %v", file, err).Because(err)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		found := false
		for {
			var c audit.Checkpoint
			err := dec.Decode(&c)
			if errors.Is(err, io.EOF) && found {
				break
			}
			if err != nil || c.Sequence < 1 || c.Hash == "" || c.Signature == "" {
				return nil, fault.Newf(op, fault.Invalid, "%s holds no checkpoint", file).Because(err).Advise("it should be what isthmus audit checkpoint -o json printed")
			}
			out, found = append(out, c), true
		}
	}
	return out, nil
}

func readBounded(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = errors.New("it is too large")
	}
	return b, err
}
