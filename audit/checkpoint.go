package audit

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

// checkpointPurpose separates signatures of checkpoints from everything else an authority signs.
const checkpointPurpose = "audit checkpoint"

// Checkpoint is the deployment's word that a chain had this record at a moment: whoever keeps it can tell later whether the chain, up to
// that record, is still the same.
type Checkpoint struct {
	TrustDomain string    `json:"trustDomain"`
	Tenant      string    `json:"tenant,omitempty"` // whose chain; empty for the deployment's own
	Sequence    int64     `json:"sequence"`         // of the record
	Hash        string    `json:"hash"`             // of the record
	At          time.Time `json:"at"`               // when it was signed
	Authority   string    `json:"authority"`        // fingerprint (SHA-256) of the certificate that belongs to the key it was signed with
	Signature   string    `json:"signature"`        // in hexadecimal, of everything above
}

// Place returns which record it is about.
func (c *Checkpoint) Place() Place { return Place{c.Sequence, c.Hash} }

// statement is what is signed: sequence and time as eight bytes each, then the texts, each behind its length.
func (c *Checkpoint) statement() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.Sequence))
	b = binary.BigEndian.AppendUint64(b, uint64(nanos(c.At)))
	b = appendText(b, c.TrustDomain)
	b = appendText(b, c.Tenant)
	b = appendText(b, c.Hash)
	return appendText(b, c.Authority)
}

// SignCheckpoint makes a checkpoint of a record. Invalid when the place is before the first one.
func SignCheckpoint(a *identity.Authority, tenant string, at Place, now time.Time) (Checkpoint, error) {
	if at.Sequence < 1 || at.Hash == "" {
		return Checkpoint{}, fault.New("audit.SignCheckpoint", fault.Invalid, "the chain has no record yet").Advise("make a checkpoint once something has been recorded")
	}
	c := Checkpoint{
		TrustDomain: a.TrustDomain, Tenant: tenant, Sequence: at.Sequence, Hash: at.Hash, At: now.UTC().Round(0), Authority: identity.Fingerprint(a.Certificate()),
	}
	signature, err := a.SignStatement(checkpointPurpose, c.statement())
	c.Signature = hex.EncodeToString(signature)
	return c, err
}

// Verify checks that an authority of the PEM text signed this, and that it is the one of the checkpoint's trust domain. Unauthenticated
// when not; Invalid when the text holds no authority's certificate.
func (c *Checkpoint) Verify(rootsPEM []byte) error {
	op := "audit.Verify"
	signature, err := hex.DecodeString(c.Signature)
	if err != nil {
		signature = nil // which no authority gives
	}
	domain, err := identity.VerifyStatement(rootsPEM, c.Authority, checkpointPurpose, c.statement(), signature)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	if domain != c.TrustDomain {
		return fault.Newf(op, fault.Unauthenticated, "the checkpoint is of %.100q, and the authority's certificate of %q", c.TrustDomain, domain).
			Advise("give the ca.pem of the deployment it is of")
	}
	return nil
}
