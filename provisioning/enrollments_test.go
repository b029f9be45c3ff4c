package provisioning_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/provisioning/tpm/tpmtest"
)

func TestEnrollmentsThatAreWrong(t *testing.T) {
	leaf := quoted(pt.Sign(t, nil, "d").PEM())
	for name, text := range map[string]string{
		"no JSON": `{`, "an array": `[]`, "no id": `{"attestation":{"type":"symmetricKey"}}`, "a bad id": `{"registrationId":"a b","attestation":{"type":"symmetricKey"}}`,
		"a bad device id": symmetric("d", `,"deviceId":"a/b"`), "a device id with a control character": symmetric("d", `,"deviceId":"a\u0010"`), "no attestation": `{"registrationId":"d"}`, "none": `{"registrationId":"d","attestation":{"type":"none"}}`,
		"unknown attestation": `{"registrationId":"d","attestation":{"type":"smile"}}`, "unknown status": symmetric("d", `,"provisioningStatus":"maybe"`),
		"a short key":  `{"registrationId":"d","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"AAAA","secondaryKey":"AAAA"}}}`,
		"one key":      `{"registrationId":"d","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"` + groupKey + `"}}}`,
		"no TPM key":   `{"registrationId":"d","attestation":{"type":"tpm","tpm":{}}}`,
		"no TPM's key": `{"registrationId":"d","attestation":{"type":"tpm","tpm":{"endorsementKey":"AAAA"}}}`,
		"no X.509":     `{"registrationId":"d","attestation":{"type":"x509"}}`, "no certificate": `{"registrationId":"d","attestation":{"type":"x509","x509":{"clientCertificates":{}}}}`,
		"garbage as certificate": `{"registrationId":"d","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":"AAAA"}}}}}`,
		"unknown allocation":     symmetric("d", `,"allocationPolicy":"dice"`), "static without a hub": symmetric("d", `,"allocationPolicy":"static"`),
		"custom without a hook": symmetric("d", `,"allocationPolicy":"custom"`), "a hook that is a file": symmetric("d", `,"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"file:///etc/passwd"}`),
		"a hook with a password": symmetric("d", `,"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"https://a:b@c/"}`),
		"tags that are a list":   symmetric("d", `,"initialTwin":{"tags":[]}`),
		"a twin too deep":        symmetric("d", `,"initialTwin":{"tags":{"a":`+strings.Repeat(`{"a":`, 40)+`1`+strings.Repeat(`}`, 41)+`}`),
	} {
		if _, err := provisioning.ParseEnrollment([]byte(text), false); fault.KindOf(err) != fault.Invalid || fault.Message(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"no id": `{"attestation":{"type":"symmetricKey"}}`, "a bad id": `{"enrollmentGroupId":"-","attestation":{"type":"symmetricKey"}}`,
		"a TPM":             `{"enrollmentGroupId":"g","attestation":{"type":"tpm","tpm":{"endorsementKey":"AAAA"}}}`,
		"no authority":      `{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":` + leaf + `}}}}}`,
		"both kinds of CAs": `{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":` + leaf + `}},"caReferences":{"primary":"a"}}}}`,
	} {
		if _, err := provisioning.ParseEnrollment([]byte(text), true); fault.KindOf(err) != fault.Invalid {
			t.Errorf("a group with %s: %v", name, err)
		}
	}
	if _, err := provisioning.ParseEnrollment(make([]byte, provisioning.MaxEnrollment+1), false); fault.KindOf(err) != fault.TooLarge {
		t.Error(err)
	}
}

// C55, without a wire.
func TestEnrollmentThroughItsLife(t *testing.T) {
	w, ctx := start(t), t.Context()
	made, err := w.Service.PutEnrollment(ctx, "D1", []byte(symmetric("d1", `,"optionalDeviceInformation":{"a":1}`)), false, "")
	if err != nil || made.Status != provisioning.Enabled || made.ETag == "" || made.Created == "" || made.Allocation != provisioning.AllocateHashed || string(made.Information) != `{"a":1}` ||
		made.Reprovision == nil || !made.Reprovision.MigrateDeviceData || made.Attestation.SymmetricKey.Primary != "" {
		t.Fatalf("%+v, %v", made, err)
	}
	keys, err := w.Service.Mechanism(ctx, "d1", false)
	if err != nil || len(keys.SymmetricKey.Primary) != 88 || keys.SymmetricKey.Primary == keys.SymmetricKey.Secondary {
		t.Fatalf("%+v, %v", keys, err)
	}
	if _, err := w.Service.PutEnrollment(ctx, "d1", []byte(symmetric("d1", "")), false, ""); fault.KindOf(err) != fault.Conflict || provisioning.CodeOf(err) != provisioning.Exists {
		t.Errorf("twice: %v", err)
	}
	// What is read can be changed and written back.
	read, err := w.Service.Enrollment(ctx, "D1", false)
	if err != nil {
		t.Fatal(err)
	}
	read.Status = provisioning.Disabled
	text, _ := json.Marshal(read)
	if _, err := w.Service.PutEnrollment(ctx, "d1", text, false, "stale"); fault.KindOf(err) != fault.Precondition || provisioning.CodeOf(err).Status() != 412 {
		t.Errorf("another etag: %v", err)
	}
	changed, err := w.Service.PutEnrollment(ctx, "d1", text, false, read.ETag)
	if err != nil || changed.Status != provisioning.Disabled || changed.ETag == read.ETag || changed.Created != read.Created {
		t.Errorf("%+v, %v", changed, err)
	}
	if again, err := w.Service.Mechanism(ctx, "d1", false); err != nil || *again.SymmetricKey != *keys.SymmetricKey {
		t.Errorf("the keys changed: %v", err)
	}
	if _, err := w.Service.PutEnrollment(ctx, "d2", text, false, ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("another id in the path: %v", err)
	}
	if _, err := w.Service.PutEnrollment(ctx, "d9", []byte(symmetric("d9", "")), false, "*"); fault.KindOf(err) != fault.NotFound || provisioning.CodeOf(err) != provisioning.NotEnrolled {
		t.Errorf("changing what is not there: %v", err)
	}
	if err := w.Service.DeleteEnrollment(ctx, "d1", false, "stale"); fault.KindOf(err) != fault.Precondition {
		t.Error(err)
	}
	if err := w.Service.DeleteEnrollment(ctx, "d1", false, changed.ETag); err != nil {
		t.Error(err)
	}
	if _, err := w.Service.Enrollment(ctx, "d1", false); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}

	// Certificates are not shown, and stay when they are written back.
	leaf := pt.Sign(t, nil, "x")
	w.Put(`{"registrationId":"x","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + quoted(leaf.PEM()) + `}}}}}`)
	read, _ = w.Service.Enrollment(ctx, "x", false)
	if c := read.Attestation.X509.Client.Primary; c.Certificate != "" || c.Info.SHA256 != sum(leaf) {
		t.Errorf("%+v", c)
	}
	text, _ = json.Marshal(read)
	if _, err := w.Service.PutEnrollment(ctx, "x", text, false, read.ETag); err != nil {
		t.Error(err)
	}
	if err := w.Service.Prove(ctx, shown(leaf, "x")); err != nil {
		t.Error(err)
	}
	forged := strings.Replace(string(text), sum(leaf), strings.Repeat("0", 64), 1)
	if _, err := w.Service.PutEnrollment(ctx, "x", []byte(forged), false, "*"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an info of nothing: %v", err)
	}
}

func TestGroupsAreBounded(t *testing.T) {
	w := pt.Start(t, pt.Options{Change: func(c *provisioning.Config) { c.MaxGroups = 1 }})
	w.PutGroup(line)
	if _, err := w.Service.PutEnrollment(t.Context(), "", []byte(strings.Replace(line, "line", "two", 1)), true, ""); fault.KindOf(err) != fault.Exhausted {
		t.Error(err)
	}
	if _, err := w.Service.PutEnrollment(t.Context(), "", []byte(line), true, "*"); err != nil {
		t.Error(err)
	}
}

func TestBulkAndPages(t *testing.T) {
	w, ctx := start(t), t.Context()
	var list []json.RawMessage
	for i := range 25 {
		list = append(list, json.RawMessage(symmetric(fmt.Sprintf("d%02d", i), "")))
	}
	errs, err := w.Service.Bulk(ctx, "create", list)
	if err != nil || len(errs) != 0 {
		t.Fatalf("%v, %v", errs, err)
	}
	var ids []string
	for next := ""; ; {
		page, err := w.Service.Enrollments(ctx, false, 10, next)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			ids = append(ids, e.RegistrationID)
			if e.Attestation.SymmetricKey.Primary != "" {
				t.Error("a list shows keys")
			}
		}
		if next = page.Continuation; next == "" {
			break
		}
	}
	if len(ids) != 25 || ids[0] != "d00" || ids[24] != "d24" {
		t.Errorf("%v", ids)
	}
	if _, err := w.Service.Enrollments(ctx, false, 10, "!"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	first, _ := w.Service.Enrollment(ctx, "d00", false)
	for _, c := range []struct {
		mode  string
		list  []string
		codes []provisioning.Code
	}{
		{"create", []string{symmetric("d00", ""), symmetric("new", ""), symmetric("bad id", "")}, []provisioning.Code{provisioning.Exists, provisioning.BadRequest}},
		{"UPDATE", []string{symmetric("d00", ""), symmetric("nobody", "")}, []provisioning.Code{provisioning.NotEnrolled}},
		{"updateIfMatchETag", []string{symmetric("d01", ""), symmetric("d02", `,"etag":"stale"`), symmetric("d00", `,"etag":"`+first.ETag+`"`)},
			[]provisioning.Code{provisioning.ETagMismatch, provisioning.ETagMismatch, provisioning.ETagMismatch}},
		{"delete", []string{symmetric("d00", ""), symmetric("d00", ""), `[]`}, []provisioning.Code{provisioning.NotEnrolled, provisioning.BadRequest}},
	} {
		list = list[:0]
		for _, text := range c.list {
			list = append(list, json.RawMessage(text))
		}
		errs, err := w.Service.Bulk(ctx, c.mode, list)
		var codes []provisioning.Code
		for _, e := range errs {
			codes = append(codes, e.Code)
		}
		if err != nil || fmt.Sprint(codes) != fmt.Sprint(c.codes) {
			t.Errorf("%s: %v, %v", c.mode, errs, err)
		}
	}
	for _, e := range []string{"new", "d24"} {
		if _, err := w.Service.Enrollment(ctx, e, false); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.Service.Bulk(ctx, "smile", nil); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	if _, err := w.Service.Bulk(ctx, "create", make([]json.RawMessage, provisioning.MaxBulk+1)); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	for text, ok := range map[string]bool{"*": true, "": true, "SELECT * FROM enrollments": true, " select * ": true, "SELECT * FROM enrollments WHERE 1=1": false, "drop": false} {
		if err := provisioning.CheckQuery(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestStatesOfRegistrations(t *testing.T) {
	w, ctx := start(t), t.Context()
	w.Put(symmetric("d", ""))
	if _, err := w.Service.State(ctx, "d"); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if _, err := w.Service.DeviceState(ctx, own(w, "d")); provisioning.CodeOf(err) != provisioning.NotEnrolled {
		t.Error(err)
	}
	w.Register(own(w, "d"), provisioning.Registration{})
	s, err := w.Service.State(ctx, "D")
	if err != nil || s.Status != provisioning.Assigned {
		t.Fatalf("%+v, %v", s, err)
	}
	if e, err := w.Service.Enrollment(ctx, "d", false); err != nil || e.State == nil || e.State.AssignedHub != s.AssignedHub {
		t.Errorf("%+v, %v", e, err)
	}
	if err := w.Service.DeleteState(ctx, "d", "stale"); fault.KindOf(err) != fault.Precondition {
		t.Error(err)
	}
	if err := w.Service.DeleteState(ctx, "d", s.ETag); err != nil {
		t.Error(err)
	}
	if err := w.Service.DeleteState(ctx, "d", ""); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	w.Register(own(w, "d"), provisioning.Registration{})
	if err := w.Service.DeleteEnrollment(ctx, "d", false, ""); err != nil {
		t.Error(err)
	}
	if _, err := w.Service.State(ctx, "d"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the registration outlives its enrollment: %v", err)
	}
}

func FuzzParseEnrollment(f *testing.F) {
	chip, err := tpmtest.New()
	if err != nil {
		f.Fatal(err)
	}
	ek, _ := json.Marshal(chip.EndorsementKey())
	for _, text := range []string{
		line, symmetric("d", `,"initialTwin":{"tags":{"a":1},"properties":{"desired":{"b":null}}},"iotHubs":["a"]`),
		signing("g", pt.Sign(f, nil, "ca", pt.CA)), `{"registrationId":"t","attestation":{"type":"tpm","tpm":{"endorsementKey":` + string(ek) + `}}}`,
		symmetric("d", `,"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"https://a/b","apiVersion":"x"}`),
	} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, group bool) {
		e, err := provisioning.ParseEnrollment(text, group)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatal(err)
			}
			return
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := provisioning.ParseEnrollment(b, group)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, b)
		}
		if c, _ := json.Marshal(again); string(c) != string(b) {
			t.Fatalf("not the same twice:\n%s\n%s", b, c)
		}
	})
}
