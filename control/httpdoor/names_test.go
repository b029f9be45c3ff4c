package httpdoor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestNamesNobodyKnowsAreFoundWhereverTheyStand(t *testing.T) {
	for _, c := range []struct {
		kind             resource.Kind
		spec, path, near string
	}{
		{resource.KindGateway, `{"listener":[]}`, "spec.listener", "listeners"},
		{resource.KindGateway, `{"routes":[{"names":["a"]},{"nam\u0065":1}]}`, "spec.routes[1].name", "names"},
		{resource.KindGateway, `{"groups":[{"name":"a\"]}","health":{"chek":"tcp"}}]}`, "spec.groups[0].health.chek", "check"},
		{resource.KindGateway, `{"limits":{"source":{"perSecnd":1}}}`, "spec.limits.source.perSecnd", "perSecond"},
		{resource.KindAllowlist, `{"rules":[{},{"sources":[["x"],{"y":1}], "expire":""}]}`, "spec.rules[1].expire", "expires"},
		{resource.KindAllowlist, `{"rules":[{"limit": {"bytesPerSeconds" :2}}]}`, "spec.rules[0].limit.bytesPerSeconds", "bytesPerSecond"},
		{resource.KindRuleset, `{"rules":[{"Name":"a"}]}`, "spec.rules[0].Name", "name"},
		{resource.KindZone, `{"links":[{"policy":"x"}]}`, "spec.links[0].policy", ""},
		{resource.KindRecordSet, `{"srv":[{"prority":1}]}`, "spec.srv[0].prority", "priority"},
		{resource.KindPrivateEndpoint, `{"withoutName":true}`, "spec.withoutName", "withoutNames"},
		{resource.KindNetwork, `{"dns":{"client":[]}}`, "spec.dns.client", "clients"},
	} {
		raw := fmt.Sprintf(`{"apiVersion":"isthmus/v1","kind":%q,"metadata":{"name":"x","labels":{"any":"thing"}}, "spec": %s }`, c.kind, c.spec)
		_, err := decodeObject(json.RawMessage(raw), "objects[0]")
		if fault.KindOf(err) != fault.Invalid || fault.Message(err) != "there is no field objects[0]."+c.path || c.near != "" && fault.Next(err) != "did you mean "+c.near+"?" {
			t.Errorf("%s: %s; next: %s", c.spec, fault.Message(err), fault.Next(err))
		}
	}
}

// twin is the walk through a tree, which the walk through bytes must agree with.
func twin(tree any, t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(jsonReader) || p.Implements(textReader) {
		return true
	}
	switch x := tree.(type) {
	case map[string]any:
		for name, v := range x {
			switch t.Kind() {
			case reflect.Map:
				if !twin(v, t.Elem()) {
					return false
				}
			case reflect.Struct:
				ft, ok := fields(t)[name]
				if !ok || !twin(v, ft) {
					return false
				}
			default:
			}
		}
	case []any:
		for _, v := range x {
			if t.Kind() == reflect.Slice && !twin(v, t.Elem()) {
				return false
			}
		}
	}
	return true
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{
		`{}`, ` {"spec":{"routes":[{"names":["a\\","\"b"],"port":-1.5e9},null,true,[{}]]},"metadata":{"labels":{"x":"{"}}}`, `"\\\""`, `[]`, `{"a\u0062":[[]]}`, "3 ",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var tree any
		if json.Unmarshal(raw, &tree) != nil || bytes.ContainsRune(raw, '\ufffd') {
			return
		}
		if err := json.Unmarshal(raw, new(map[string]any)); err == nil && repeats(raw) {
			return // of a name that stands twice a tree keeps one
		}
		of := reflect.TypeFor[resource.Gateway]()
		if got, want := checkNames(raw, of, "") == nil, twin(tree, of); got != want {
			t.Errorf("%q: good %t, want %t", raw, got, want)
		}
	})
}

// repeats tells whether any object has a name twice.
func repeats(raw []byte) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	type frame struct {
		seen map[string]bool
		name bool
	}
	var stack []*frame
	for {
		tok, err := d.Token()
		if err != nil {
			return false
		}
		if n := len(stack); n > 0 && stack[n-1].seen != nil {
			top := stack[n-1]
			if s, ok := tok.(string); ok && top.name {
				if top.seen[s] {
					return true
				}
				top.seen[s], top.name = true, false
				continue
			}
			top.name = true
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, &frame{map[string]bool{}, true})
		case json.Delim('['):
			stack = append(stack, &frame{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}

// longList is an allowlist as people send it.
func longList(n int) []byte {
	a := &resource.Allowlist{Header: resource.Header{APIVersion: resource.APIVersion, Kind: resource.KindAllowlist,
		Metadata: resource.Meta{Tenant: "ot", Network: "ot-cloud", Name: "all"}}}
	for i := range n {
		a.Spec.Rules = append(a.Spec.Rules, resource.AllowRule{
			Name: fmt.Sprintf("site-%06d", i), Sources: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
			Ports: []uint16{8883}, Note: strings.Repeat("n", 30), Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		})
	}
	b, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return b
}

func BenchmarkDecodeLongList(b *testing.B) {
	raw := longList(100_000)
	b.SetBytes(int64(len(raw)))
	b.Run("names", func(b *testing.B) {
		for b.Loop() {
			if err := checkNames(raw, reflect.TypeFor[resource.Allowlist](), ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("object", func(b *testing.B) {
		for b.Loop() {
			if _, err := decodeObject(raw, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}
