package storage

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/store/storagestore"
	"github.com/isthmus-io/isthmus/workload"
)

// Config is how a server is made. Dir, or Database and Blobs.Dir, must be given; every other field's zero value works.
type Config struct {
	Dir      string // data directory: rows are in Dir/storage.db, contents and blocks that wait in Dir/storage
	Database string // where rows are instead, e.g. postgres://...
	MaxPages int    // bounds storage.db, in pages of 4 KiB; 0 leaves it to the disk

	Blobs    blob.Config // where contents are, and bounds of them; MaxBlob is 256 GiB
	MaxBlobs int64       // of one account; 20 million
	MaxBytes int64       // of one account's blobs together; 0 leaves it to the disk

	// Workloads checks the tokens of workloads. nil refuses all of them.
	Workloads *workload.Verifier
}

func (c Config) withDefaults() Config {
	if c.Database == "" && c.Dir != "" {
		c.Database = filepath.Join(c.Dir, "storage.db")
	}
	if c.Blobs.Dir == "" && c.Dir != "" {
		c.Blobs.Dir = filepath.Join(c.Dir, "storage")
	}
	if c.Blobs.MaxBlob <= 0 {
		c.Blobs.MaxBlob = 256 << 30
	}
	if c.MaxBlobs <= 0 {
		c.MaxBlobs = 20_000_000
	}
	return c
}

// Spec says which account is served, as its plan has it.
type Spec struct {
	ID         string   // uid of the service
	Name       string   // ot/ot-cloud/lake
	HostNames  []string // all it answers to; the first is the public name
	Account    string   // its name in signatures; the first label of the public name when empty
	Containers []string // declared by the resource
	KeysOff    bool     // neither its keys nor signatures made with them open it

	Assignments []plan.Assignment // what workloads may do
}

// account is the name that signatures are made with.
func (s Spec) account() string {
	if s.Account != "" {
		return s.Account
	}
	for _, h := range s.HostNames {
		label, _, dotted := strings.Cut(h, ".")
		if dotted && net.ParseIP(h) == nil {
			return strings.ToLower(label)
		}
	}
	return "local"
}

const (
	// Small is how long a content is at most that is kept with its blob's row.
	Small = 4 << 10
	// MaxMetadata is how many bytes names and values of metadata have at most (Blob service: setting and retrieving properties and metadata).
	MaxMetadata = 8 << 10
	// MaxContainers is how many containers an account has at most.
	MaxContainers = 10_000
	// MaxPage is how many results a page of a list has at most (List Blobs).
	MaxPage = 5000

	maxName      = 1024 // characters (Blob service: naming containers and blobs)
	maxPathParts = 254
)

// CheckBlobName tells what is wrong with a blob's name: it has 1 to 1,024 characters of UTF-8 without control characters, in no more than
// 254 parts between slashes.
func CheckBlobName(name string) error {
	var why string
	switch {
	case name == "":
		why = "is empty"
	case !utf8.ValidString(name):
		why = "is not UTF-8"
	case utf8.RuneCountInString(name) > maxName:
		why = "is longer than 1,024 characters"
	case strings.ContainsFunc(name, unicode.IsControl):
		why = "holds a control character"
	case strings.Count(name, "/") >= maxPathParts:
		why = "has more than 254 parts between slashes"
	default:
		return nil
	}
	return fault.Newf("storage.CheckBlobName", fault.Invalid, "the blob's name %s", why).Advise("use letters, digits and slashes, as in 2026/11/22/part-1.parquet").Because(InvalidName)
}

// checkMetadata refuses what cannot be written as headers (Blob service: names of metadata are C# identifiers).
func checkMetadata(m map[string]string) error {
	op := "storage.checkMetadata"
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
		for i, c := range k {
			if c != '_' && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && (i == 0 || c < '0' || c > '9') {
				return fault.Newf(op, fault.Invalid, "%.60q cannot be a name of metadata", k).Advise("use letters, digits and _, with no digit at its beginning").Because(InvalidMetadata)
			}
		}
		if k == "" || !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
			return fault.Newf(op, fault.Invalid, "the metadata %.60q has no name, or a value that cannot be a header", k).Because(InvalidMetadata)
		}
	}
	if size > MaxMetadata {
		return fault.Newf(op, fault.TooLarge, "the metadata has %d bytes, %d are allowed", size, MaxMetadata).Because(Reason("MetadataTooLarge"))
	}
	return nil
}

// newETag returns one that nothing had before.
func newETag() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return "0x" + strings.ToUpper(hex.EncodeToString(b[:]))
}

func (s Spec) clone() Spec {
	s.HostNames, s.Containers, s.Assignments = slices.Clone(s.HostNames), slices.Clone(s.Containers), slices.Clone(s.Assignments)
	return s
}

// wide is whether a name can be looked for at all; one that cannot is not there.
func wide(name string) bool { return storagestore.ValidName(name) }
