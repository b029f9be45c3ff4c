package azureblob_test

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

func request(method, target string, length int64, headers ...string) azureblob.Request {
	u, err := url.Parse("https://x" + target)
	if err != nil {
		panic(err)
	}
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	return azureblob.Request{Method: method, Header: h, Length: length, Path: u.EscapedPath(), Query: u.Query()}
}

// The first two are the examples of Azure's page "Authorize with Shared Key", the third that of Shared Key Lite.
func TestStringsToSign(t *testing.T) {
	for name, c := range map[string]struct {
		r    azureblob.Request
		lite bool
		want string
	}{
		"get container metadata": {
			request("GET", "/mycontainer?restype=container&comp=metadata&timeout=20", 0, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version", "2015-02-21"), false,
			"GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20",
		},
		"list blobs": {
			request("GET", "/mycontainer?restype=container&comp=list&include=snapshots&include=metadata&include=uncommittedblobs", 0, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"), false,
			"GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n/myaccount/mycontainer\ncomp:list\ninclude:metadata,snapshots,uncommittedblobs\nrestype:container",
		},
		"lite": {
			request("PUT", "/mycontainer?restype=container&comp=acl&timeout=30", 8, "Content-Type", "text/plain; charset=UTF-8", "x-ms-date", "Sun, 20 Sep 2009 20:36:40 GMT",
				"x-ms-meta-m1", "v1", "x-ms-meta-m2", "v2"), true,
			"PUT\n\ntext/plain; charset=UTF-8\n\nx-ms-date:Sun, 20 Sep 2009 20:36:40 GMT\nx-ms-meta-m1:v1\nx-ms-meta-m2:v2\n/myaccount/mycontainer?comp=acl",
		},
		"everything": {
			request("PUT", "/c/a%20b%2Fc?comp=blocklist&Zulu=%C3%BC", 5, "Content-Encoding", "gzip", "Content-Language", "de", "Content-MD5", "abc=", "Content-Type", "t", "Date", "ignored",
				"If-Modified-Since", "m", "If-Match", "e", "If-None-Match", "n", "If-Unmodified-Since", "u", "Range", "bytes=0-1", "X-Ms-Date", "d", "x-ms-meta-a", " padded "), false,
			"PUT\ngzip\nde\n5\nabc=\nt\n\nm\ne\nn\nu\nbytes=0-1\nx-ms-date:d\nx-ms-meta-a:padded\n/myaccount/c/a%20b%2Fc\ncomp:blocklist\nzulu:ü",
		},
	} {
		if got := c.r.StringToSign("myaccount", c.lite, strings.Compare); got != c.want {
			t.Errorf("%s:\n%q\n%q", name, got, c.want)
		}
	}
}

// Names that differ by what does not count at first, in the order that the Node SDK has them in.
func TestOrderOfHeaders(t *testing.T) {
	list := []string{"x-ms-meta-a1", "x-ms-meta-a_b", "x-ms-meta-aab", "x-ms-meta-ab", "x-ms-meta-a-b", "x-ms-metaz", "x-ms-blob-type", "x-ms-blob-content-type", "x-ms-version"}
	slices.SortFunc(list, azureblob.CompareHeaders)
	want := []string{"x-ms-blob-content-type", "x-ms-blob-type", "x-ms-meta-a_b", "x-ms-meta-a1", "x-ms-meta-aab", "x-ms-meta-a-b", "x-ms-meta-ab", "x-ms-metaz", "x-ms-version"}
	if !slices.Equal(list, want) {
		t.Errorf("%v", list)
	}
}

func TestSharedKey(t *testing.T) {
	key := []byte(strings.Repeat("k", 64))
	r := request("GET", "/mycontainer?restype=container&comp=metadata&timeout=20", 0, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version", "2015-02-21")
	// printf of the string above | openssl dgst -sha256 -mac HMAC -macopt key:kkk… -binary | base64
	const sum = "XF9KmYRg/ipp0dxoTXRqLvKBuOgltp5KeybinbaG8VY="
	k, err := azureblob.ParseSharedKey("SharedKey myaccount:" + sum)
	if err != nil || k.Account != "myaccount" || k.Lite || !k.SignedBy(key, r) {
		t.Errorf("%+v, %v", k, err)
	}
	if k.SignedBy(key[1:], r) {
		t.Error("another key fits")
	}
	for what, other := range map[string]azureblob.Request{
		"method": request("PUT", "/mycontainer?restype=container&comp=metadata&timeout=20", 0, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version", "2015-02-21"),
		"path":   request("GET", "/mycontainer2?restype=container&comp=metadata&timeout=20", 0, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version", "2015-02-21"),
		"query":  request("GET", "/mycontainer?restype=container&comp=metadata&timeout=21", 0, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version", "2015-02-21"),
		"header": request("GET", "/mycontainer?restype=container&comp=metadata&timeout=20", 0, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version", "2015-02-21", "x-ms-meta-a", "b"),
		"length": request("GET", "/mycontainer?restype=container&comp=metadata&timeout=20", 1, "x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version", "2015-02-21"),
	} {
		if k.SignedBy(key, other) {
			t.Errorf("another %s fits", what)
		}
	}
	for _, bad := range []string{"", "SharedKey", "SharedKey a", "SharedKey a:", "SharedKey :" + sum, "SharedKey a:AAAA", "Bearer a:" + sum, "SharedKey a:" + sum + strings.Repeat("A", 600)} {
		if _, err := azureblob.ParseSharedKey(bad); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func account() azureblob.SAS {
	return azureblob.SAS{Version: "2021-12-02", Services: "b", Types: "co", Permissions: "rwl", Starts: "2029-01-01", Expires: "2030-03-17T17:46:40Z", IP: "10.0.0.1-10.0.0.9", Protocol: "https"}
}

func service(resource string) azureblob.SAS {
	return azureblob.SAS{Version: "2021-12-02", Resource: resource, Permissions: "r", Expires: "2030-03-17T17:46:40Z", Headers: [5]string{"no-store", "", "", "", "text/plain"}}
}

// Azure's pages "Create an account SAS" and "Create a service SAS" say what is signed, version by version.
func TestWhatASASSigns(t *testing.T) {
	for name, c := range map[string]struct {
		s    azureblob.SAS
		blob string
		want string
	}{
		"account":     {account(), "", "lake\nrwl\nb\nco\n2029-01-01\n2030-03-17T17:46:40Z\n10.0.0.1-10.0.0.9\nhttps\n2021-12-02\n\n"},
		"old account": {azureblob.SAS{Version: "2018-11-09", Services: "b", Types: "o", Permissions: "r", Expires: "e"}, "", "lake\nr\nb\no\n\ne\n\n\n2018-11-09\n"},
		"blob":        {service("b"), "d/ü x", "r\n\n2030-03-17T17:46:40Z\n/blob/lake/c/d/ü x\n\n\n\n2021-12-02\nb\n\n\nno-store\n\n\n\ntext/plain"},
		"container":   {service("c"), "ignored", "r\n\n2030-03-17T17:46:40Z\n/blob/lake/c\n\n\n\n2021-12-02\nc\n\n\nno-store\n\n\n\ntext/plain"},
		"2018":        {azureblob.SAS{Version: "2018-11-09", Resource: "c", Permissions: "r", Expires: "e"}, "", "r\n\ne\n/blob/lake/c\n\n\n\n2018-11-09\nc\n\n\n\n\n\n"},
		"2015":        {azureblob.SAS{Version: "2015-04-05", Resource: "b", Permissions: "r", Expires: "e"}, "x", "r\n\ne\n/blob/lake/c/x\n\n\n\n2015-04-05\n\n\n\n\n"},
	} {
		if got := c.s.StringToSign("lake", "c", c.blob); got != c.want {
			t.Errorf("%s:\n%q\n%q", name, got, c.want)
		}
	}
}

func TestSAS(t *testing.T) {
	for _, s := range []azureblob.SAS{account(), service("b"), service("c")} {
		q := s.Query(key, "lake", "c", "b")
		got, err := azureblob.ParseSAS(q)
		if err != nil || !got.SignedBy(key, "lake", "c", "b") || got.Permissions != s.Permissions || got.Headers != s.Headers {
			t.Fatalf("%+v, %v", got, err)
		}
		if got.SignedBy(key, "lake2", "c", "b") || got.SignedBy([]byte("other"), "lake", "c", "b") || !s.ForAccount() && got.SignedBy(key, "lake", "d", "b") || s.Resource == "b" && got.SignedBy(key, "lake", "c", "b2") {
			t.Errorf("%+v fits others", s)
		}
		for name := range q {
			if name == "sig" {
				continue
			}
			other := url.Values{}
			for n, v := range q {
				other[n] = v
			}
			other.Set(name, map[string]string{"sv": "2020-12-06", "se": "2031-01-01", "st": "2028-01-01", "sip": "10.0.0.2", "sr": map[string]string{"b": "c", "c": "b"}[s.Resource], "ss": "bq", "srt": "sco"}[name]+"")
			if p, err := azureblob.ParseSAS(other); err == nil && p.SignedBy(key, "lake", "c", "b") {
				t.Errorf("%s can be changed", name)
			}
		}
	}
	starts, expires, err := account().Times()
	if err != nil || !starts.Equal(time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)) || expires.Unix() != 1_900_000_000 {
		t.Errorf("%v %v %v", starts, expires, err)
	}
	for ip, want := range map[string]bool{"10.0.0.1": true, "10.0.0.9": true, "::ffff:10.0.0.5": true, "10.0.0.10": false, "9.255.255.255": false, "::1": false} {
		if got := account().Admits(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	good := service("b").Query(key, "lake", "c", "b").Encode()
	for _, bad := range []string{
		"", "sig=AAAA", good + "&sig=AAAA", good + "&sp=w", good + "&skoid=x", strings.Replace(good, "sr=b", "sr=bs", 1), strings.Replace(good, "sr=b", "sr=d", 1), good + "&ss=b",
		strings.Replace(good, "2021-12-02", "2014-02-14", 1), strings.Replace(good, "2021-12-02", "yyyy-mm-dd", 1), strings.Replace(good, "se=2030", "se=never", 1), good + "&sip=here",
		strings.Replace(good, "sp=r", "sp=r%0A", 1),
	} {
		q, _ := url.ParseQuery(bad)
		if _, err := azureblob.ParseSAS(q); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzSAS(f *testing.F) {
	f.Add(account().Query(key, "lake", "c", "b").Encode())
	f.Add(service("b").Query(key, "lake", "c", "b").Encode())
	f.Add("sig=%00&sv=2021-12-02&sr=b&sip=1-2&se=2030-03-17T17:46Z")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := azureblob.ParseQuery(query)
		if err != nil {
			return
		}
		s, err := azureblob.ParseSAS(q)
		if err != nil {
			return
		}
		// What was read says the same once it is written again.
		own := s.Query(key, "lake", "c", "b")
		again, err := azureblob.ParseSAS(own)
		if err != nil && s.Snapshot == "" || err == nil && s.Snapshot == "" && !again.SignedBy(key, "lake", "c", "b") {
			t.Errorf("%q becomes %q: %v", query, own.Encode(), err)
		}
	})
}

func FuzzSharedKey(f *testing.F) {
	f.Add("SharedKey a:"+base64.StdEncoding.EncodeToString(make([]byte, 32)), "GET", "/a?b=c", "x-ms-date", "d")
	f.Add("SharedKeyLite a:AAAA", "PUT", "/a/b%2Fc?comp=list&comp=x", "x-ms-meta-a", "ü")
	f.Fuzz(func(t *testing.T, header, method, target, name, value string) {
		k, err := azureblob.ParseSharedKey(header)
		u, uerr := url.Parse("https://x" + target)
		if err != nil || uerr != nil {
			return
		}
		if k.Account == "" {
			t.Error("an account without a name")
		}
		if k.SignedBy(key, azureblob.Request{Method: method, Header: http.Header{http.CanonicalHeaderKey(name): {value}}, Path: u.EscapedPath(), Query: u.Query()}) {
			t.Error("a signature fits by chance")
		}
	})
}
