package zonefile

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const good = `$TTL 1h
$ORIGIN corp.example.
@	IN SOA ns1 admin 1 7200 900 1209600 60
	IN NS  ns1
	IN MX  10 mail
mes	A	10.7.0.20
	A	10.7.0.21
	AAAA	fd00::20
MAIL 60	A	10.7.0.22
www	CNAME	mes
_mqtt._tcp SRV 1 2 8883 mes.corp.example.
*.dev	A	10.7.0.30
txt	TXT	"two " "parts; and a \"quote\""
`

func TestRead(t *testing.T) {
	got, err := Read("corp.example", "db.corp", strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string]resource.RecordSetSpec{}
	for _, s := range got.Sets {
		sets[s.Metadata.Name] = s.Spec
	}
	if len(sets) != 7 {
		t.Errorf("%d sets: %+v", len(sets), sets)
	}
	if s := sets["mes"]; s.TTL != 3600 || len(s.A) != 2 || len(s.AAAA) != 1 {
		t.Errorf("mes: %+v", s)
	}
	if s := sets["mail"]; s.TTL != 60 {
		t.Errorf("mail: %+v", s)
	}
	if s := sets["www"]; s.CNAME != "mes.corp.example" {
		t.Errorf("www: %+v", s)
	}
	if s := sets["txt"]; len(s.TXT) != 1 || s.TXT[0] != `two parts; and a "quote"` {
		t.Errorf("txt: %+v", s)
	}
	if s := sets["@"]; len(s.MX) != 1 || s.MX[0].Exchange != "mail.corp.example" {
		t.Errorf("@: %+v", s)
	}
	if len(got.Notes) != 2 {
		t.Errorf("notes: %q", got.Notes)
	}
}

// Every problem of a file is told at once, with its line.
func TestReadTellsEveryProblem(t *testing.T) {
	_, err := Read("corp.example", "db.corp", strings.NewReader(`$TTL 60
ok	A	10.0.0.1
bad1	A	10.0.0
ok2	A	10.0.0.2
bad2	AAAA	nonsense
www	CNAME	mes
www	A	10.0.0.3
elsewhere.example. A 10.0.0.4
key	DNSKEY	256 3 8 AwEAAQ==
two	( A ; over
	10.0.0.5 )
two	CNAME	ok
$GENERATE 1-2 h$ NS ns
last.example.	A	10.0.0.6`))
	if fault.KindOf(err) != fault.Invalid {
		t.Fatal(err)
	}
	words := fault.Message(err)
	for _, want := range []string{"db.corp:3: ", "db.corp:5: ", "db.corp:7: www: ", "db.corp:8: elsewhere.example. is not in the zone", "db.corp:9: key.corp.example. ",
		"db.corp:12: two: ", "db.corp:13: h1.corp.example. ", "db.corp:14: last.example. ",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("%q is missing in\n%s", want, words)
		}
	}
	if strings.Contains(words, "ok2") || strings.Contains(words, "empty") {
		t.Errorf("a good line is blamed:\n%s", words)
	}
}

func TestReadReadsNoOtherFiles(t *testing.T) {
	if _, err := Read("corp.example", "db.corp", strings.NewReader("$INCLUDE /etc/passwd\n")); fault.KindOf(err) != fault.Invalid {
		t.Fatal(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(good)
	f.Add("$GENERATE 1-65535 h$ A 10.0.0.1\n")
	f.Add("a A 10.0.0.1\na CNAME b\n$ORIGIN .\nx A 1.1.1.1\n")
	f.Add("( ( (\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Read("corp.example", "f", strings.NewReader(text))
		if err != nil {
			if fault.Message(err) == "" || len(got.Sets) != 0 {
				t.Fatalf("%v with %d sets", err, len(got.Sets))
			}
			return
		}
		for _, s := range got.Sets {
			s.Metadata.Tenant = "t"
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
