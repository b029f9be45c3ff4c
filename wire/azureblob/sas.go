package azureblob

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// SAS is a shared access signature made with an account's key, for the account, a container or a blob (Azure Storage: create an account SAS,
// create a service SAS). What it says counts only when SignedBy.
type SAS struct {
	Version     string // sv
	Services    string // ss, of an account's: must hold b
	Types       string // srt, of an account's: s, c, o
	Resource    string // sr, of a service's: c or b
	Permissions string // sp
	Starts      string // st; see [SAS.Times]
	Expires     string // se
	IP          string // sip: an address, or two with a hyphen
	Protocol    string // spr
	Policy      string // si
	Snapshot    string // part of what is signed
	Scope       string // ses
	// Headers are rscc, rscd, rsce, rscl, rsct: what the answer to a reader says of the content.
	Headers [5]string
	mac     []byte
}

// SASHeaders are the names of what SAS.Headers hold.
var SASHeaders = [5]string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type"}

var overrides = [5]string{"rscc", "rscd", "rsce", "rscl", "rsct"}

// Versions in which what is signed changed.
const (
	firstVersion    = "2015-04-05"
	snapshotVersion = "2018-11-09"
	scopeVersion    = "2020-12-06"
)

// ForAccount tells whether it is an account's signature, and not a service's.
func (s SAS) ForAccount() bool { return s.Services != "" || s.Types != "" }

// ParseSAS reads the signature in a query. Unauthenticated when it cannot be read, or is of a sort that is not known here.
func ParseSAS(q url.Values) (SAS, error) {
	var s SAS
	for name, to := range map[string]*string{
		"sv": &s.Version, "ss": &s.Services, "srt": &s.Types, "sr": &s.Resource, "sp": &s.Permissions, "st": &s.Starts, "se": &s.Expires, "sip": &s.IP, "spr": &s.Protocol,
		"si": &s.Policy, "snapshot": &s.Snapshot, "ses": &s.Scope,
	} {
		if len(q[name]) > 1 {
			return s, badSAS("%s stands in it twice", name)
		}
		*to = q.Get(name)
		if strings.ContainsAny(*to, "\n\r") {
			return s, badSAS("%s holds a line feed", name)
		}
	}
	for i, name := range overrides {
		s.Headers[i] = q.Get(name)
		if len(q[name]) > 1 || strings.ContainsAny(s.Headers[i], "\n\r") {
			return s, badSAS("%s stands in it twice, or holds a line feed", name)
		}
	}
	for _, name := range []string{"skoid", "sktid", "skt", "ske", "sks", "skv"} {
		if q.Has(name) {
			return s, badSAS("it is a user delegation SAS, which is not known here")
		}
	}
	if s.Version < firstVersion || len(s.Version) != len(firstVersion) || strings.Trim(s.Version, "0123456789-") != "" {
		return s, badSAS("sv is %.20q: versions are known from %s on", s.Version, firstVersion)
	}
	switch {
	case s.ForAccount():
		if s.Resource != "" {
			return s, badSAS("it is for an account and for a %.10q", s.Resource)
		}
	case s.Resource != "c" && s.Resource != "b":
		return s, badSAS("sr is %.10q: containers (c) and blobs (b) are known here", s.Resource)
	}
	var err error
	// A client that decoded the query once too often has made a space of each plus.
	if s.mac, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(q.Get("sig"), " ", "+")); err != nil || len(q["sig"]) != 1 || len(s.mac) != sha256.Size {
		return s, badSAS("sig is no signature")
	}
	if _, _, err := s.Times(); err != nil {
		return s, err
	}
	if _, _, err := s.addresses(); err != nil {
		return s, err
	}
	return s, nil
}

func badSAS(format string, args ...any) error {
	return fault.Newf("azureblob.ParseSAS", fault.Unauthenticated, "the shared access signature cannot be used: "+format, args...)
}

// layouts of st and se.
var layouts = []string{"2006-01-02T15:04:05Z", "2006-01-02T15:04Z", "2006-01-02", "2006-01-02T15:04:05.9999999Z"}

// Times are when it begins and ends to be good; zero where it does not say.
func (s SAS) Times() (starts, expires time.Time, err error) {
	if starts, err = parseTime(s.Starts); err == nil {
		expires, err = parseTime(s.Expires)
	}
	return starts, expires, err
}

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, badSAS("%.40q is no time", text)
}

func (s SAS) addresses() (from, to netip.Addr, err error) {
	if s.IP == "" {
		return from, to, nil
	}
	a, b, two := strings.Cut(s.IP, "-")
	if !two {
		b = a
	}
	var aerr, berr error
	from, aerr = netip.ParseAddr(a)
	to, berr = netip.ParseAddr(b)
	if aerr != nil || berr != nil {
		return from, to, badSAS("sip is neither an address nor a range of them")
	}
	return from.Unmap(), to.Unmap(), nil
}

// Admits tells whether a peer at this address may use it.
func (s SAS) Admits(peer netip.Addr) bool {
	from, to, err := s.addresses()
	peer = peer.Unmap()
	return err == nil && (s.IP == "" || peer.BitLen() == from.BitLen() && from.Compare(peer) <= 0 && peer.Compare(to) <= 0)
}

// StringToSign is what the signature is made of. blob is empty for a container's.
func (s SAS) StringToSign(account, container, blob string) string {
	lines := []string{account, s.Permissions, s.Services, s.Types, s.Starts, s.Expires, s.IP, s.Protocol, s.Version}
	if s.ForAccount() {
		if s.Version >= scopeVersion {
			lines = append(lines, s.Scope)
		}
		return strings.Join(append(lines, ""), "\n")
	}
	resource := "/blob/" + account + "/" + container
	if s.Resource == "b" {
		resource += "/" + blob
	}
	lines = []string{s.Permissions, s.Starts, s.Expires, resource, s.Policy, s.IP, s.Protocol, s.Version}
	if s.Version >= snapshotVersion {
		lines = append(lines, s.Resource, s.Snapshot)
	}
	if s.Version >= scopeVersion {
		lines = append(lines, s.Scope)
	}
	return strings.Join(append(lines, s.Headers[:]...), "\n")
}

// SignedBy tells whether the key signed it, for a container, or a blob of it.
func (s SAS) SignedBy(key []byte, account, container, blob string) bool {
	return hmac.Equal(s.mac, sum(key, s.StringToSign(account, container, blob))) && !strings.ContainsAny(container+blob, "\n")
}

// Query is the query that says it all, signed with the key.
func (s SAS) Query(key []byte, account, container, blob string) url.Values {
	q := url.Values{}
	for name, v := range map[string]string{
		"sv": s.Version, "ss": s.Services, "srt": s.Types, "sr": s.Resource, "sp": s.Permissions, "st": s.Starts, "se": s.Expires, "sip": s.IP, "spr": s.Protocol, "si": s.Policy, "ses": s.Scope,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	for i, name := range overrides {
		if s.Headers[i] != "" {
			q.Set(name, s.Headers[i])
		}
	}
	q.Set("sig", base64.StdEncoding.EncodeToString(sum(key, s.StringToSign(account, container, blob))))
	return q
}

// SASVersion is the version of signatures made here.
const SASVersion = "2021-12-02"

// SASTime writes a time as signatures have it.
func SASTime(t time.Time) string { return t.UTC().Format(layouts[0]) }
