package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Record is one change, tied by hashes to the one before it in its tenant's chain.
type Record struct {
	Tenant    string          `json:"tenant,omitempty"` // whose chain; empty for the deployment's own
	Sequence  int64           `json:"sequence"`         // from 1, without gaps
	Time      time.Time       `json:"time"`
	Who       string          `json:"who"`
	Operation string          `json:"operation"` // create, update, delete, approve, reject, remove, denied, enrol, …
	Kind      string          `json:"kind"`
	Path      string          `json:"path"`
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`
	Why       string          `json:"why,omitempty"`
	Previous  string          `json:"previous"` // hash of the record before; empty for the first
	Hash      string          `json:"hash"`     // SHA-256 of everything above, in hexadecimal
}

// Place is a record's place in its chain. The zero Place is before the first record.
type Place struct {
	Sequence int64  `json:"sequence"`
	Hash     string `json:"hash,omitempty"` // of the record with that sequence
}

// Place returns where the record stands.
func (r *Record) Place() Place { return Place{r.Sequence, r.Hash} }

// Digest is what Hash has to be: the SHA-256, in hexadecimal, of sequence and time (nanoseconds since 1970) as eight bytes each, most
// significant first, and of tenant, who, operation, kind, path, before, after, why and previous, each behind its length as eight such bytes.
func (r *Record) Digest() string { return r.digestAs(r.Sequence) }

// digestAs is the digest the record would have under another number.
func (r *Record) digestAs(sequence int64) string {
	b := make([]byte, 0, 16+9*8+r.size())
	b = binary.BigEndian.AppendUint64(b, uint64(sequence))
	b = binary.BigEndian.AppendUint64(b, uint64(nanos(r.Time)))
	b = appendText(b, r.Tenant)
	b = appendText(b, r.Who)
	b = appendText(b, r.Operation)
	b = appendText(b, r.Kind)
	b = appendText(b, r.Path)
	b = appendText(b, r.Before)
	b = appendText(b, r.After)
	b = appendText(b, r.Why)
	b = appendText(b, r.Previous)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (r *Record) size() int {
	return len(r.Tenant) + len(r.Who) + len(r.Operation) + len(r.Kind) + len(r.Path) + len(r.Before) + len(r.After) + len(r.Why) + len(r.Previous)
}

func appendText[T string | json.RawMessage](b []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}

// nanos is the time as databases keep it: 0 is no time, and times too far for 64 bits of nanoseconds are the furthest ones.
func nanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Year() < 1678:
		return math.MinInt64
	case t.Year() >= 2262:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// Follow returns the record as the next one after a place, its texts made canonical: Sequence, Previous and Hash are filled in. Invalid
// when Before or After is no JSON.
func (r Record) Follow(last Place) (Record, error) {
	r, err := r.Canonical()
	if err != nil {
		return Record{}, err
	}
	r.Sequence, r.Previous = last.Sequence+1, last.Hash
	r.Hash = r.Digest()
	return r, nil
}

// Canonical returns the record with Before and After as encoding/json writes them (no white space, <, > and & escaped) and with nothing in
// its texts that JSON or a database would change: bytes that are no UTF-8, and NUL, become U+FFFD. Invalid when Before or After is no JSON.
func (r Record) Canonical() (Record, error) {
	for _, s := range []*string{&r.Tenant, &r.Who, &r.Operation, &r.Kind, &r.Path, &r.Why} {
		*s = cleanText(*s)
	}
	for _, j := range []*json.RawMessage{&r.Before, &r.After} {
		if len(*j) == 0 {
			*j = nil
			continue
		}
		var text []byte
		// Without its bytes made valid first the text could not be told from what a decoder makes of it.
		text, err := json.Marshal(json.RawMessage(bytes.ToValidUTF8(*j, []byte("\uFFFD"))))
		if err != nil {
			return Record{}, fault.Wrap("audit.Canonical", fault.Invalid, err, "what an audit record shows of an object is no JSON")
		}
		*j = text
	}
	r.Time = r.Time.UTC().Round(0)
	return r, nil
}

func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
