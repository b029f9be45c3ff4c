package azureblob

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// SharedKey is the Authorization header of a request that was signed with an account's key (Azure Storage: Authorize with Shared Key).
type SharedKey struct {
	Account string
	Lite    bool
	mac     []byte
}

const maxAuthorization = 512

// IsSharedKey tells whether a header says that it is one.
func IsSharedKey(authorization string) bool {
	scheme, _, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(scheme, "SharedKey") || strings.EqualFold(scheme, "SharedKeyLite")
}

// ParseSharedKey reads the header. Unauthenticated when it cannot be read.
func ParseSharedKey(authorization string) (SharedKey, error) {
	op := "azureblob.ParseSharedKey"
	scheme, rest, _ := strings.Cut(authorization, " ")
	account, sum, ok := strings.Cut(strings.TrimSpace(rest), ":")
	if !ok || account == "" || len(authorization) > maxAuthorization || !IsSharedKey(authorization) {
		return SharedKey{}, fault.New(op, fault.Unauthenticated, "the Authorization header is not SharedKey ACCOUNT:SIGNATURE")
	}
	b, err := base64.StdEncoding.DecodeString(sum)
	if err != nil || len(b) != sha256.Size {
		return SharedKey{}, fault.New(op, fault.Unauthenticated, "the signature in the Authorization header is none")
	}
	return SharedKey{account, strings.EqualFold(scheme, "SharedKeyLite"), b}, nil
}

// Request is what of a request is signed.
type Request struct {
	Method string
	Header http.Header
	Length int64  // of the body
	Path   string // as it stands in the request line, encoded
	Query  url.Values
}

// SignedBy tells whether the key signed the request. Clients sort headers in one of two orders, and both are right.
func (k SharedKey) SignedBy(key []byte, r Request) bool {
	plain := hmac.Equal(k.mac, sum(key, r.StringToSign(k.Account, k.Lite, strings.Compare)))
	service := hmac.Equal(k.mac, sum(key, r.StringToSign(k.Account, k.Lite, CompareHeaders)))
	return plain || service
}

func sum(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// SignedHeaders are those that count without the prefix x-ms-, in their order.
var signedHeaders = []string{"Content-Encoding", "Content-Language", "", "Content-MD5", "Content-Type", "Date", "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"}

// StringToSign is what a signature is made of, in the versions of the protocol since 2015-02-21. order compares names of headers.
func (r Request) StringToSign(account string, lite bool, order func(a, b string) int) string {
	var b strings.Builder
	line := func(s string) {
		b.WriteString(s)
		b.WriteByte('\n')
	}
	line(r.Method)
	if lite {
		line(r.Header.Get("Content-MD5"))
		line(r.Header.Get("Content-Type"))
		line(r.Header.Get("Date"))
	} else {
		for _, name := range signedHeaders {
			switch {
			case name == "" && r.Length > 0:
				line(strconv.FormatInt(r.Length, 10))
			case name == "":
				line("")
			case name == "Date" && r.Header.Get("X-Ms-Date") != "":
				line("")
			default:
				line(r.Header.Get(name))
			}
		}
	}
	b.WriteString(r.canonicalHeaders(order))
	b.WriteString("/" + account + r.Path)
	if lite {
		if comp := r.Query.Get("comp"); comp != "" {
			b.WriteString("?comp=" + comp)
		}
		return b.String()
	}
	b.WriteString(r.canonicalQuery())
	return b.String()
}

// canonicalHeaders are the x-ms- headers, one a line (Shared Key: constructing the canonicalized headers string).
func (r Request) canonicalHeaders(order func(a, b string) int) string {
	type header struct{ name, value string }
	var list []header
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "x-ms-") {
			continue
		}
		trimmed := make([]string, len(values))
		for i, v := range values {
			trimmed[i] = strings.TrimSpace(v)
		}
		list = append(list, header{lower, strings.Join(trimmed, ",")})
	}
	slices.SortFunc(list, func(a, b header) int { return order(a.name, b.name) })
	var b strings.Builder
	for _, h := range list {
		b.WriteString(h.name + ":" + h.value + "\n")
	}
	return b.String()
}

// canonicalQuery are the parameters, decoded and in order, each on a line of its own.
func (r Request) canonicalQuery() string {
	byName := map[string][]string{}
	var names []string
	for name, values := range r.Query {
		lower := strings.ToLower(name)
		if byName[lower] == nil {
			names = append(names, lower)
		}
		byName[lower] = append(byName[lower], values...)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		values := byName[name]
		slices.Sort(values)
		b.WriteString("\n" + name + ":" + strings.Join(values, ","))
	}
	return b.String()
}

// CompareHeaders is the order in which Azure's service has headers: that of words, in which hyphens count only where nothing else differs.
func CompareHeaders(a, b string) int {
	return cmp.Or(strings.Compare(words(a), words(b)), strings.Compare(a, b))
}

// words leaves out what does not count at first, and moves the underscore before the digits.
func words(name string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '-', '\'':
			return -1
		case '_':
			return '.'
		}
		return r
	}, name)
}
