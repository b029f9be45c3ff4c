package manifest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n got:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestBadManifestsSayEverythingThatIsWrong(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			set, err := manifest.Parse(name+".yaml", data)
			if err == nil || set != nil {
				t.Fatalf("no error, set %v", set)
			}
			if fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
				t.Errorf("kind %v, next %q", fault.KindOf(err), fault.Next(err))
			}
			if len(manifest.ProblemsOf(err)) == 0 {
				t.Error("the problems are not in the chain")
			}
			golden(t, "testdata/bad/"+name+".txt", fault.Message(err)+"\n")
		})
	}
}

func TestGoodManifest(t *testing.T) {
	data, err := os.ReadFile("testdata/good/all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.Parse("all.yaml", append([]byte("\xef\xbb\xbf"), data...))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Notes) != 1 || !strings.HasPrefix(set.Notes[0], "all.yaml:20: status is ignored") {
		t.Errorf("notes %q", set.Notes)
	}
	objs := set.Objects()
	var order []resource.Kind
	for _, o := range objs {
		order = append(order, o.Head().Kind)
	}
	if order = slices.Compact(order); !reflect.DeepEqual(order, resource.Kinds()) {
		t.Errorf("order %v, want that of resource.Kinds", order)
	}
	if set.Documents[0].Line != 2 || set.Documents[1].Line != 24 {
		t.Errorf("lines %d, %d", set.Documents[0].Line, set.Documents[1].Line)
	}
	ep := theFirst[*resource.PrivateEndpoint](objs)
	if ep.Metadata.UID != "" || ep.Metadata.Generation != 0 || !ep.Metadata.CreatedAt.IsZero() || ep.Status.Address.IsValid() {
		t.Errorf("what only Isthmus writes was taken: %+v", ep)
	}
	if ep.Spec.Address.String() != "10.7.0.9" || ep.Spec.RequestMessage != "line one\nline two\n" || ep.Metadata.Labels["line"] != "7" {
		t.Errorf("spec %+v", ep)
	}
	svc := theFirst[*resource.Service](objs)
	if len(svc.Spec.Ports) != 2 || svc.Spec.Ports[1].TargetPort != 8443 || !svc.Spec.ProxyProtocol || svc.Spec.AutoApprove[0] != "*" {
		t.Errorf("spec %+v", svc.Spec)
	}
	var out bytes.Buffer
	if err := manifest.Encode(&out, objs...); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/good/all.out", out.String())
	again, err := manifest.Parse("again", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.Objects(), objs) {
		t.Errorf("what was written reads differently:\n%s", out.String())
	}
}

func theFirst[T resource.Object](objs []resource.Object) (found T) {
	for _, o := range objs {
		if t, ok := o.(T); ok {
			return t
		}
	}
	return found
}

// Every field a person may write is in the manifest that is read and written above, so none is forgotten on the way.
func TestTheGoodManifestHasEveryField(t *testing.T) {
	data, err := os.ReadFile("testdata/good/all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.Parse("all.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	var note func(path string, v any)
	note = func(path string, v any) {
		given[path] = true
		switch v := v.(type) {
		case map[string]any:
			for name, sub := range v {
				note(path+"."+name, sub)
			}
		case []any:
			for _, sub := range v {
				note(path, sub)
			}
		}
	}
	for _, o := range set.Objects() {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(b, &tree); err != nil {
			t.Fatal(err)
		}
		note(string(o.Head().Kind), tree)
	}
	for _, k := range resource.Kinds() {
		s, _ := manifest.SchemaOf(k)
		var walk func(path string, f manifest.Field)
		walk = func(path string, f manifest.Field) {
			if f.ReadOnly || path == string(k)+".metadata.annotations" || path == string(k)+".metadata.labels" {
				return
			}
			if !given[path] {
				t.Errorf("%s is nowhere in testdata/good/all.yaml", path)
			}
			for _, sub := range f.Fields {
				walk(path+"."+sub.Name, sub)
			}
		}
		walk(string(k), s)
	}
}

func TestStatusIsWrittenAndIgnored(t *testing.T) {
	o, _ := resource.New(resource.KindTenant)
	n, _ := resource.New(resource.KindNetwork)
	o.Head().Metadata.Name = "ot"
	n.Head().Metadata = resource.Meta{Tenant: "ot", Name: "plant-7", UID: "u1", Generation: 3}
	n.(*resource.Network).Status.Agents = 2
	var b bytes.Buffer
	if err := manifest.Encode(&b, o, n); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Count(text, "status:") != 1 || !strings.Contains(text, "agents: 2") || !strings.Contains(text, "uid: u1") {
		t.Errorf("got\n%s", text)
	}
	set, err := manifest.Parse("x", b.Bytes())
	if err != nil || len(set.Notes) != 1 || set.Objects()[1].Head().Metadata.UID != "" {
		t.Errorf("%v %+v", err, set)
	}
}

func TestBoundsOfOneFile(t *testing.T) {
	head := "apiVersion: isthmus/v1\nkind: Tenant\nmetadata:\n  name: ot\n  labels:\n"
	var bomb strings.Builder
	bomb.WriteString(head + "    a: &a " + strings.Repeat("x", 1<<20) + "\n")
	for i := range 1000 {
		bomb.WriteString("    b" + strings.Repeat("b", i) + ": *a\n")
	}
	for name, c := range map[string]struct{ text, want string }{
		"alias bomb": {bomb.String(), "too large through its aliases"},
		"long file":  {strings.Repeat("# comment\n", manifest.MaxFile/10+1), "more than 32 MiB"},
		"depth":      {"a: " + strings.Repeat("[", 20000), "nesting is too deep"},
	} {
		_, err := manifest.Parse("f", []byte(c.text))
		if err == nil || !strings.Contains(fault.Message(err), c.want) {
			t.Errorf("%s: %.300s", name, fault.Message(err))
		}
	}
	_, err := manifest.Parse("f", []byte(strings.Repeat("---\nkind: X\n", 200)))
	if n := strings.Count(fault.Message(err), "\n"); n != 50 || !strings.HasSuffix(fault.Message(err), "more") {
		t.Errorf("%d lines of problems: %.200s", n, fault.Message(err))
	}
}

func TestSchemaNamesEveryFieldAndSaysWhatItIsFor(t *testing.T) {
	for _, k := range resource.Kinds() {
		s, ok := manifest.SchemaOf(k)
		if !ok {
			t.Fatal(k)
		}
		var walk func(path string, f manifest.Field)
		walk = func(path string, f manifest.Field) {
			if f.Doc == "" && path != string(k) {
				t.Errorf("%s has no words", path)
			}
			for _, sub := range f.Fields {
				walk(path+"."+sub.Name, sub)
			}
		}
		walk(string(k), s)
	}
	s, _ := manifest.SchemaOf(resource.KindService)
	f, _, _, ok := s.Find("spec.ports.targetPort")
	if !ok || f.Type != "a whole number" || f.Required {
		t.Errorf("%v %+v", ok, f)
	}
	if _, near, known, ok := s.Find("spec.port"); ok || near != "ports" || len(known) == 0 {
		t.Errorf("near %q known %q", near, known)
	}
	m, _, _, _ := s.Find("metadata")
	if _, _, _, ok := m.Find("zone"); ok {
		t.Error("a Service has no metadata.zone")
	}
	b, err := json.Marshal(s)
	if err != nil || len(b) == 0 {
		t.Error(err)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"address", "agent", "service", "requestMessage"}
	for word, want := range map[string]string{
		"addrss": "address", "Address": "address", "servce": "service", "agnt": "agent", "requestmessage": "requestMessage", "x": "", "message": "", "zzzzzz": "",
	} {
		if got := manifest.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

// lineBreaks are what YAML 1.1 takes for the end of a line.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := manifest.Parse("fuzz.yaml", data)
		if err != nil {
			lines := 1 + strings.Count(lineBreaks.Replace(string(data)), "\n")
			for _, p := range manifest.ProblemsOf(err) {
				if p.Line < 0 || p.Line > lines || p.Message == "" {
					t.Errorf("problem %+v in %d lines", p, lines)
				}
			}
			return
		}
		var out bytes.Buffer
		if err := manifest.Encode(&out, set.Objects()...); err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Parse("again.yaml", out.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		if a, b := set.Objects(), again.Objects(); len(a)+len(b) > 0 && !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v\n%+v\n%s", a, b, out.String())
		}
	})
}
