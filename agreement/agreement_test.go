package agreement_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/agreement"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)

func authority(t testing.TB) *identity.Authority {
	t.Helper()
	a, _, err := identity.NewAuthority("isthmus.test", t0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// agreed is a contract of ot with a tenant, which the tenants have signed.
func agreed(t testing.TB, a *identity.Authority, with string, signers ...string) *resource.AgreedContract {
	t.Helper()
	o, _ := resource.New(resource.KindContract)
	n := o.(*resource.Contract)
	n.Metadata = resource.Meta{Tenant: "ot", Name: "telemetry"}
	n.Spec = resource.ContractSpec{With: with, Purpose: "maintenance", Messages: []resource.ContractMessage{{Name: "all"}}}
	text, digest := n.Text(3)
	out := &resource.AgreedContract{Version: 3, Digest: digest, Text: text}
	for _, tenant := range signers {
		s, err := agreement.Sign(a, n.Key(), 3, digest, tenant, "olga of "+tenant, t0)
		if err != nil {
			t.Fatal(err)
		}
		out.Signatures = append(out.Signatures, s)
	}
	return out
}

func TestWhatBothSignedHolds(t *testing.T) {
	a := authority(t)
	for with, signers := range map[string][]string{"it": {"ot", "it"}, "ot": {"ot"}} {
		c := agreed(t, a, with, signers...)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := agreement.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		terms, err := agreement.Verify(a.CertificatePEM(), again)
		if err != nil || terms.Contract.Path() != "ot/telemetry" || terms.Spec.With != with || terms.TrustDomain != "isthmus.test" {
			t.Errorf("with %s: %+v %v", with, terms, err)
		}
	}
}

func TestWhatWasTouchedDoesNot(t *testing.T) {
	a, other := authority(t), authority(t)
	digest := func(c *resource.AgreedContract) { // somebody who changes the text changes the digest too
		o, _ := resource.New(resource.KindContract)
		n := o.(*resource.Contract)
		n.Metadata = resource.Meta{Tenant: "ot", Name: "telemetry"}
		n.Spec = resource.ContractSpec{With: "it", Purpose: "marketing", Messages: []resource.ContractMessage{{Name: "all"}}}
		c.Text, c.Digest = n.Text(c.Version)
	}
	for name, tc := range map[string]struct {
		change func(c *resource.AgreedContract)
		roots  []byte
		kind   fault.Kind
		words  string
	}{
		"the text":           {func(c *resource.AgreedContract) { c.Text = strings.Replace(c.Text, "maintenance", "marketing", 1) }, nil, fault.Invalid, "not the one that was signed"},
		"text and digest":    {digest, nil, fault.Unauthenticated, "does not fit"},
		"the version":        {func(c *resource.AgreedContract) { c.Version = 4 }, nil, fault.Invalid, "its version"},
		"who":                {func(c *resource.AgreedContract) { c.Signatures[1].By = "somebody" }, nil, fault.Unauthenticated, "does not fit"},
		"when":               {func(c *resource.AgreedContract) { c.Signatures[1].At = t0.Add(1) }, nil, fault.Unauthenticated, "does not fit"},
		"for whom":           {func(c *resource.AgreedContract) { c.Signatures[1].Tenant = "ot" }, nil, fault.Unauthenticated, "signed twice"},
		"one signature":      {func(c *resource.AgreedContract) { c.Signatures = c.Signatures[:1] }, nil, fault.Unauthenticated, "the tenant it has not signed"},
		"none":               {func(c *resource.AgreedContract) { c.Signatures = nil }, nil, fault.Unauthenticated, "has not signed"},
		"a third":            {func(c *resource.AgreedContract) { c.Signatures = append(c.Signatures, c.Signatures[0]) }, nil, fault.Unauthenticated, "signed twice"},
		"the signature":      {func(c *resource.AgreedContract) { c.Signatures[0].Signature = "AAAA" }, nil, fault.Unauthenticated, "does not fit"},
		"no base64":          {func(c *resource.AgreedContract) { c.Signatures[0].Signature = "!" }, nil, fault.Unauthenticated, "does not fit"},
		"another authority":  {func(c *resource.AgreedContract) {}, other.CertificatePEM(), fault.Unauthenticated, "another authority"},
		"no authority":       {func(c *resource.AgreedContract) {}, []byte("-"), fault.Invalid, "no authority"},
		"not even a text":    {func(c *resource.AgreedContract) { c.Text = "{" }, nil, fault.Invalid, "is no contract's"},
		"something more":     {func(c *resource.AgreedContract) { c.Text = `{"contract":"ot/x","spec":{},"more":1}` }, nil, fault.Invalid, "is no contract's"},
		"by over two lines":  {func(c *resource.AgreedContract) { c.Signatures[0].By = "olga of ot\n2026-03-01T12:00:00Z" }, nil, fault.Unauthenticated, "does not fit"},
		"an audit's purpose": {func(c *resource.AgreedContract) { c.Signatures[0].Signature = checkpoint(t, a, c) }, nil, fault.Unauthenticated, "does not fit"},
	} {
		c := agreed(t, a, "it", "ot", "it")
		tc.change(c)
		roots := tc.roots
		if roots == nil {
			roots = a.CertificatePEM()
		}
		_, err := agreement.Verify(roots, c)
		if fault.KindOf(err) != tc.kind || !strings.Contains(fault.Message(err), tc.words) || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checkpoint is the signature's bytes signed for another purpose.
func checkpoint(t *testing.T, a *identity.Authority, c *resource.AgreedContract) string {
	s, err := a.SignStatement("audit checkpoint", c.Signatures[0].SignedBytes("ot/telemetry", c.Version, c.Digest))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(s)
}

func TestParse(t *testing.T) {
	for text, kind := range map[string]fault.Kind{
		`{"spec":{},"status":{"state":"Proposed"}}`: fault.NotFound, `{}`: fault.Invalid, `[]`: fault.Invalid, ``: fault.Invalid, `null`: fault.Invalid,
	} {
		if _, err := agreement.Parse([]byte(text)); fault.KindOf(err) != kind || fault.Next(err) == "" {
			t.Errorf("%s: %v", text, err)
		}
	}
	if a, err := agreement.Parse([]byte(`{"kind":"Contract","status":{"agreed":{"version":2,"text":"x"}}}`)); err != nil || a.Version != 2 {
		t.Errorf("%+v %v", a, err)
	}
}

// Nothing but what was signed verifies, whatever else is made of it.
func FuzzVerify(f *testing.F) {
	a := authority(f)
	good, err := json.Marshal(agreed(f, a, "it", "ot", "it"))
	if err != nil {
		f.Fatal(err)
	}
	alone, err := json.Marshal(agreed(f, a, "ot", "ot"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(alone)
	f.Add([]byte(`{"status":{"agreed":{}}}`))
	f.Add([]byte(strings.Replace(string(good), "maintenance", "marketing", 1)))
	texts := map[string]bool{agreed(f, a, "it").Text: true, agreed(f, a, "ot").Text: true}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := agreement.Parse(raw)
		if err != nil {
			return
		}
		if _, err := agreement.Verify(a.CertificatePEM(), c); err == nil && !texts[c.Text] {
			t.Errorf("nobody signed %s", c.Text)
		}
	})
}
