package registryfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/registryfile"
)

const exported = `{"id":"d1","eTag":"\"MQ==\"","importMode":"create","status":"enabled","authentication":{"type":"sas","symmetricKey":{"primaryKey":"QUFBQUFBQUFBQUFBQUFBQQ==","secondaryKey":null},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null}},"twinETag":"AAAAAAAAAAI=","tags":{"plant":7},"properties":{"desired":{"rate":5,"$metadata":{"$lastUpdated":"2026-11-22T00:00:00Z"},"$version":4},"reported":{"$version":1}},"capabilities":{"iotEdge":false}}`

func TestLinesThatAreRead(t *testing.T) {
	h := hubtest.Start(t, hubtest.Options{}).Hub(hubtest.Contoso)
	in := "\xef\xbb\xbf" + exported + "\r\n\n" + `  {"id":"d1","moduleId":"m","importMode":"createOrUpdate","managedBy":"iotEdge"}  `
	var numbers []int
	if err := registryfile.Read(strings.NewReader(in), func(n int, l registryfile.Line) error {
		numbers = append(numbers, n)
		c, err := l.Change(h, "create")
		if n == 1 && (c.Mode != hub.Create || c.Device.PrimaryKey != "QUFBQUFBQUFBQUFBQUFBQQ==" || c.Twin == nil) || n == 3 && (c.Mode != hub.CreateOrUpdate || l.Name() != hub.Name{Device: "d1", Module: "m"}) {
			t.Errorf("line %d is %+v", n, c)
		}
		return err
	}); err != nil || !reflect.DeepEqual(numbers, []int{1, 3}) {
		t.Errorf("lines %v, %v", numbers, err)
	}
	stop := errors.New("enough")
	for in, want := range map[string]string{
		exported + "\n{":                       "line 2 is not the JSON of an identity",
		exported + "\n[1]":                     "line 2 is not the JSON",
		`{"id":` + strings.Repeat("[", 10_000): "line 1 is not the JSON",
		exported + "\n" + `{"id":"` + strings.Repeat("x", registryfile.MaxLine) + `"}`: "line 2 is longer than",
	} {
		err := registryfile.Read(strings.NewReader(in), func(int, registryfile.Line) error { return nil })
		if !strings.Contains(fault.Message(err), want) {
			t.Errorf("%.60q: %v, wanted %q", in, err, want)
		}
	}
	if err := registryfile.Read(strings.NewReader(exported), func(int, registryfile.Line) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("what the caller says comes back as %v", err)
	}
	for line, want := range map[string]string{
		`{"id":"d","importMode":"eat"}`: "importMode",
		`{"id":"d","tags":{"a.b":1}}`:   "a.b",
		`{"id":"d","properties":{"desired":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100) + "}}": "nested",
	} {
		var l registryfile.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Change(h, "create"); !strings.Contains(fault.Message(err), want) {
			t.Errorf("%.60s: %v, wanted %q", line, err, want)
		}
	}
}

// Lines of strangers are read or refused, never more; what was read is written so that it reads the same; and no error holds a key.
func FuzzLines(f *testing.F) {
	f.Add([]byte(exported))
	f.Add([]byte("\xef\xbb\xbf{\"id\":\"d\"}\r\n\n{\"id\":\"d\",\"moduleId\":\"m\",\"parentScopes\":[\"x\"]}"))
	f.Add([]byte(`{"id":"d","importMode":"updateTwin","tags":null,"properties":{"desired":{"a":null,"$version":9}}}`))
	f.Add([]byte(`{"id":"d","authentication":{"symmetricKey":{"primaryKey":7}}}`))
	f.Add([]byte(`{"id":"","tags":[],"properties":null,"capabilities":{"iotEdge":"yes"}}`))
	h := hubtest.Start(f, hubtest.Options{}).Hub(hubtest.Contoso)
	f.Fuzz(func(t *testing.T, in []byte) {
		last := 0
		err := registryfile.Read(bytes.NewReader(in), func(n int, l registryfile.Line) error {
			if n <= last {
				t.Fatalf("line %d comes after %d", n, last)
			}
			last = n
			if c, err := l.Change(h, "create"); err == nil && c.Device.ID != l.ID {
				t.Fatalf("%+v became %+v", l, c)
			} else if err != nil && fault.KindOf(err) == fault.Internal {
				t.Fatalf("%+v: %v", l, err)
			}
			var out bytes.Buffer
			if err := l.Write(&out); err != nil {
				t.Fatal(err)
			}
			again := 0
			if err := registryfile.Read(&out, func(_ int, same registryfile.Line) error {
				again++
				a, _ := json.Marshal(l)
				b, _ := json.Marshal(same)
				if !bytes.Equal(a, b) {
					return fmt.Errorf("%s reads as %s", a, b)
				}
				return nil
			}); err != nil || again != 1 {
				t.Fatalf("%+v is written as %d lines, %v", l, again, err)
			}
			return nil
		})
		if k := fault.KindOf(err); err != nil && k != fault.Invalid && k != fault.TooLarge {
			t.Fatal(err)
		}
		if err != nil && bytes.Contains(in, []byte("QUFBQUFBQUFBQUFBQUFBQQ==")) && strings.Contains(err.Error(), "QUFBQUFBQUFBQUFBQUFBQQ==") {
			t.Fatalf("the error holds a key: %v", err)
		}
	})
}
