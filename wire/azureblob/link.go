package azureblob

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Rights is what a link allows.
type Rights uint8

const (
	Read   Rights = 1 << iota // get the blob and its properties
	Create                    // write it when there is none
	Write                     // write it, or its blocks, whether there is one or not
	Delete                    // remove it
)

const letters = "rcwd" // in the order in which Azure wants them

// String returns the rights as sp has them, such as "rw".
func (r Rights) String() string {
	var b strings.Builder
	for i, l := range letters {
		if r&(1<<i) != 0 {
			b.WriteRune(l)
		}
	}
	return b.String()
}

func parseRights(s string) (Rights, bool) {
	var r Rights
	for _, l := range s {
		i := strings.IndexRune(letters, l)
		if i < 0 || r&(1<<i) != 0 {
			return 0, false
		}
		r |= 1 << i
	}
	return r, r != 0
}

// Version is the sv of links, a version of the protocol that every client of these years accepts.
const Version = "2020-10-02"

const (
	timeLayout = "2006-01-02T15:04:05Z" // of se: whole seconds, UTC
	maxQuery   = 8 << 10
)

// Link is what a signed URL says beside the host.
type Link struct {
	Container string
	Blob      string // the whole name, not encoded
	Rights    Rights
	Expires   time.Time
	Upload    string // si: what the link belongs to and ends with, URL-safe; empty for one that ends by time alone
}

// Query renders the signed query, with its question mark. Neither name may hold a line feed.
func (l Link) Query(key []byte) string {
	se := l.Expires.UTC().Format(timeLayout)
	sum := mac(key, l.Rights.String(), se, l.Upload, l.Container, l.Blob)
	q := "?sv=" + Version + "&sr=b&spr=https&sp=" + l.Rights.String() + "&se=" + url.QueryEscape(se)
	if l.Upload != "" {
		q += "&si=" + url.QueryEscape(l.Upload)
	}
	return q + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(sum))
}

// mac covers every field with its name's place: none of them can hold a line feed.
func mac(key []byte, sp, se, si, container, blob string) []byte {
	m := hmac.New(sha256.New, key)
	for _, field := range []string{"isthmus blob link", Version, "b", sp, se, si, container, blob} {
		m.Write([]byte(field))
		m.Write([]byte{'\n'})
	}
	return m.Sum(nil)
}

// Signed is the query of a signed URL as it came, not yet checked.
type Signed struct {
	Rights  Rights
	Expires time.Time
	Upload  string
	sp, se  string
	mac     []byte
}

// IsSigned tells whether a query claims to be signed.
func IsSigned(query url.Values) bool { return query.Has("sig") }

// ParseSigned reads the query of a signed URL. Parameters of the operation (comp, blockid, timeout) do not concern it. Unauthenticated
// when it cannot be read.
func ParseSigned(query url.Values) (Signed, error) {
	var s Signed
	for _, name := range []string{"sv", "sr", "sp", "se", "si", "sig"} {
		if len(query[name]) > 1 {
			return s, unreadable("%s stands in it twice", name)
		}
	}
	var ok bool
	s.sp, s.se, s.Upload = query.Get("sp"), query.Get("se"), query.Get("si")
	if query.Get("sv") != Version || query.Get("sr") != "b" {
		return s, unreadable("it is not for one blob, in version %s", Version)
	}
	if s.Rights, ok = parseRights(s.sp); !ok {
		return s, unreadable("sp holds something else than letters of %s", letters)
	}
	var err error
	if s.Expires, err = time.Parse(timeLayout, s.se); err != nil {
		return s, unreadable("se is no time as %s", timeLayout)
	}
	// A client that decoded the query once too often has made a space of each plus.
	if s.mac, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(query.Get("sig"), " ", "+")); err != nil || len(s.mac) != sha256.Size {
		return s, unreadable("sig is no signature")
	}
	return s, nil
}

func unreadable(format string, args ...any) error {
	return fault.Newf("azureblob.ParseSigned", fault.Unauthenticated, "the URL's signature cannot be read: "+format, args...).
		Advise("use the URL as the hub gave it, unchanged")
}

// SignedBy tells whether the key signed this query for the blob.
func (s Signed) SignedBy(key []byte, container, blob string) bool {
	return len(key) > 0 && !strings.ContainsRune(container+blob+s.Upload, '\n') && hmac.Equal(s.mac, mac(key, s.sp, s.se, s.Upload, container, blob))
}

// ParseQuery is url.ParseQuery with a bound.
func ParseQuery(raw string) (url.Values, error) {
	if len(raw) > maxQuery {
		return nil, fault.Newf("azureblob.ParseQuery", fault.Invalid, "the query is longer than %d bytes", maxQuery)
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fault.New("azureblob.ParseQuery", fault.Invalid, "the query cannot be read").Because(err)
	}
	return q, nil
}
