package manifest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

const bridgeWithBody = `apiVersion: isthmus/v1
kind: Bridge
metadata: {tenant: ot, network: n, name: b}
spec:
  source: {endpoint: a}
  destination: {endpoint: b, eventHub: {name: h}}
  tests: [{name: t, input: [{body: BODY}]}]
`

// A value of any sort is what encoding/json would make of the same text.
func TestAnyValueIsReadAsJSON(t *testing.T) {
	for yaml, want := range map[string]string{
		`{a: 1, b: [true, null, x, 1.5], c: {}}`: `{"a":1,"b":[true,null,"x",1.5],"c":{}}`,
		`21`:                                     `21`,
		`1e3`:                                    `1000`,
		`0x10`:                                   `16`,
		`text`:                                   `"text"`,
		`"21"`:                                   `"21"`,
		`2026-01-31T12:00:00Z`:                   `"2026-01-31T12:00:00Z"`,
		`[]`:                                     `[]`,
		`[&x {k: v}, *x]`:                        `[{"k":"v"},{"k":"v"}]`,
		`null`:                                   `null`,
		`{"quoted": "and: so"}`:                  `{"quoted":"and: so"}`,
	} {
		set, err := manifest.Parse("b.yaml", []byte(strings.Replace(bridgeWithBody, "BODY", yaml, 1)))
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		got, err := json.Marshal(set.Objects()[0].(*resource.Bridge).Spec.Tests[0].Input[0].Body)
		if err != nil || string(got) != want {
			t.Errorf("%s is read as %s, want %s (%v)", yaml, got, want, err)
		}
	}
	for yaml, words := range map[string]string{
		`.nan`:             "no number that JSON has",
		`.inf`:             "no number that JSON has",
		`!!binary aGk=`:    "the tag !!binary is not read",
		`{a: 1, a: 2}`:     `field "a" stands twice`,
		`&x [*x]`:          "contains itself",
		`{<<: {a: 1}}`:     "merge keys",
		`{? [a, b] : odd}`: "expected a field's name",
	} {
		_, err := manifest.Parse("b.yaml", []byte(strings.Replace(bridgeWithBody, "BODY", yaml, 1)))
		if err == nil || !strings.Contains(fault.Message(err), words) {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}

func TestNumbersNeedNotBeWhole(t *testing.T) {
	const text = `apiVersion: isthmus/v1
kind: Contract
metadata: {tenant: ot, name: c}
spec:
  with: it
  purpose: p
  messages: [{name: m, fields: [{path: a, type: number, min: MIN}]}]
`
	for yaml, want := range map[string]float64{`-1.5`: -1.5, `7`: 7, `1e3`: 1000} {
		set, err := manifest.Parse("c.yaml", []byte(strings.Replace(text, "MIN", yaml, 1)))
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		if got := set.Objects()[0].(*resource.Contract).Spec.Messages[0].Fields[0].Min; got == nil || *got != want {
			t.Errorf("%s is read as %v", yaml, got)
		}
	}
	for yaml, words := range map[string]string{`"1.5"`: "remove the quotes", `.nan`: "expected a number", `[1]`: "expected a number, found a list", `yes`: "expected a number"} {
		_, err := manifest.Parse("c.yaml", []byte(strings.Replace(text, "MIN", yaml, 1)))
		if err == nil || !strings.Contains(fault.Message(err), words) {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}
