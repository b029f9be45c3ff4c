package azureblob_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

var key = []byte("0123456789abcdef0123456789abcdef")

var link = azureblob.Link{
	Container: "uploads", Blob: "d 1/logs/ü+%2F.txt", Rights: azureblob.Create | azureblob.Write, Expires: time.Unix(1_900_000_000, 0), Upload: "c0rr-el_ation",
}

// The signature was made with openssl: printf '%s\n' 'isthmus blob link' 2020-10-02 b cw 2030-03-17T17:46:40Z c0rr-el_ation uploads
// 'd 1/logs/ü+%2F.txt' | openssl dgst -sha256 -mac HMAC -macopt key:... -binary | base64.
const signed = "?sv=2020-10-02&sr=b&spr=https&sp=cw&se=2030-03-17T17%3A46%3A40Z&si=c0rr-el_ation&sig=v8DOUEcn%2FldTKVF4dLz4xPlIBr8ijw2%2FbNrCfKh0CQw%3D"

func parse(t *testing.T, query string) (azureblob.Signed, error) {
	t.Helper()
	q, err := azureblob.ParseQuery(strings.TrimPrefix(query, "?"))
	if err != nil {
		t.Fatal(err)
	}
	return azureblob.ParseSigned(q)
}

func TestLink(t *testing.T) {
	query := link.Query(key)
	if query != signed {
		t.Errorf("got  %s\nwant %s", query, signed)
	}
	s, err := parse(t, query+"&comp=block&blockid=AAAA&timeout=30")
	if err != nil || !s.SignedBy(key, link.Container, link.Blob) || s.Rights != link.Rights || !s.Expires.Equal(link.Expires) || s.Upload != link.Upload {
		t.Errorf("read back %+v, %v", s, err)
	}
	if s.SignedBy([]byte("another key"), link.Container, link.Blob) || s.SignedBy(nil, link.Container, link.Blob) ||
		s.SignedBy(key, link.Container, link.Blob+"x") || s.SignedBy(key, link.Container+"/d 1", "logs/ü+%2F.txt") {
		t.Error("the signature fits other keys or blobs")
	}
	for what, change := range map[string][2]string{
		"more rights": {"sp=cw", "sp=rcw"}, "later": {"2030", "2031"}, "another upload": {"si=c0rr", "si=d0rr"}, "no upload": {"&si=c0rr-el_ation", ""},
	} {
		if s, err := parse(t, strings.Replace(query, change[0], change[1], 1)); err != nil || s.SignedBy(key, link.Container, link.Blob) {
			t.Errorf("%s: %v, or it is still signed", what, err)
		}
	}
}

// No field may reach into the next.
func TestNoTwoLinksShareASignature(t *testing.T) {
	other := link
	other.Upload, other.Container = "", "c0rr-el_ation\nuploads"
	if s, err := parse(t, other.Query(key)); err != nil || s.SignedBy(key, other.Container, other.Blob) {
		t.Errorf("a name with a line feed is signed: %v", err)
	}
}

func TestUnreadableSignatures(t *testing.T) {
	good := strings.TrimPrefix(link.Query(key), "?")
	for _, query := range []string{
		"", "sig=", "sig=AAAA", strings.Replace(good, "sr=b", "sr=c", 1), strings.Replace(good, "sv=2020", "sv=2021", 1), strings.Replace(good, "sp=cw", "sp=cx", 1),
		strings.Replace(good, "sp=cw", "sp=cc", 1), strings.Replace(good, "sp=cw", "sp=", 1), strings.Replace(good, "40Z", "40%2B01:00", 1), good + "&se=2031-01-01T00:00:00Z", good + "&sig=AAAA",
	} {
		if _, err := parse(t, query); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s gives %v", query, err)
		}
	}
	if _, err := azureblob.ParseQuery(strings.Repeat("a", 10_000)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a long query gives %v", err)
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct{ path, container, decoded, literal string }{
		{"/uploads/d/a%20b.txt", "uploads", "d/a b.txt", "d/a%20b.txt"},
		{"/uploads/d%2Fa%2Fb", "uploads", "d/a/b", "d%2Fa%2Fb"}, // as C# encodes it
		{"/uploads/d/50%25", "uploads", "d/50%", "d/50%25"},
		{"/uploads/d/50%", "uploads", "d/50%", "d/50%"}, // as Node leaves it
		{"/uploads", "", "", ""},
		{"/uploads/", "", "", ""},
		{"//x", "", "", ""},
	} {
		container, decoded, literal, ok := azureblob.ParsePath(c.path)
		if container != c.container || decoded != c.decoded || literal != c.literal || ok != (c.container != "") {
			t.Errorf("%s: %q %q %q %v", c.path, container, decoded, literal, ok)
		}
	}
	name := "d#?%+ é/a&b=c~-._"
	_, decoded, _, _ := azureblob.ParsePath("/uploads/" + azureblob.EscapePath(name))
	if u, err := url.Parse("https://h/uploads/" + azureblob.EscapePath(name)); decoded != name || err != nil || u.Path != "/uploads/"+name {
		t.Errorf("%q came back as %q, %v", name, decoded, err)
	}
}

func TestOperations(t *testing.T) {
	for request, want := range map[string]azureblob.Operation{
		"PUT ?": azureblob.PutBlob, "PUT ?comp=block&blockid=x": azureblob.PutBlock, "PUT ?comp=BlockList": azureblob.PutBlockList, "GET ?": azureblob.GetBlob,
		"HEAD ?": azureblob.GetProperties, "GET ?comp=blocklist": azureblob.GetBlockList, "DELETE ?": azureblob.DeleteBlob,
		"PUT ?comp=metadata": azureblob.Unknown, "POST ?": azureblob.Unknown, "PUT ?comp=appendblock": azureblob.Unknown, "PATCH ?comp=block": azureblob.Unknown,
	} {
		method, query, _ := strings.Cut(request, " ?")
		q, err := url.ParseQuery(query)
		got := azureblob.OperationOf(method, q)
		if err != nil || got != want || (got.Needs() == 0) != (want == azureblob.Unknown) {
			t.Errorf("%s is %v, needs %q", request, got, got.Needs())
		}
	}
}

func FuzzSigned(f *testing.F) {
	f.Add(strings.TrimPrefix(link.Query(key), "?"), "d 1/logs/ü+%2F.txt")
	f.Add("sv=2020-10-02&sr=b&sp=r&se=2030-03-17T17:46:40Z&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "d/x")
	f.Add("sig=%zz&&;", "")
	f.Fuzz(func(t *testing.T, query, blob string) {
		q, err := azureblob.ParseQuery(query)
		if err != nil {
			return
		}
		azureblob.OperationOf("PUT", q)
		s, err := azureblob.ParseSigned(q)
		if err != nil {
			if fault.KindOf(err) != fault.Unauthenticated {
				t.Fatal(err)
			}
			return
		}
		if s.SignedBy(key, "uploads", blob) && (blob != link.Blob || s.Rights != link.Rights || s.Upload != link.Upload || !s.Expires.Equal(link.Expires)) {
			t.Fatalf("forged: %s for %q", query, blob)
		}
	})
}
