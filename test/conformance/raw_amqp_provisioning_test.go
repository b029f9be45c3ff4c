package conformance

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/provisioning/tpm/tpmtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// registrationByTPMOverAMQP has the mechanism TPM, which no package of npm speaks: it is in the SDKs for C# and Java.
func registrationByTPMOverAMQP(t *testing.T, d *dps) {
	covers(t, "C57", rawAMQP)
	chip, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	const id = "chip-amqp"
	d.Put(`{"registrationId":"` + id + `","attestation":{"type":"tpm","tpm":{"endorsementKey":"` + base64.StdEncoding.EncodeToString(chip.EndorsementKey()) + `"}},"iotHubHostName":"` + hubtest.Contoso + `"}`)
	address := d.Service.Scope() + "/registrations/" + id
	var blob []byte
	sasl := &amqptest.SASL{
		Mechanism: "TPM", Hostname: address, Initial: bytes.Join([][]byte{nil, []byte(d.Service.Scope()), []byte(id), chip.EndorsementKey()}, []byte{0}),
		Answer: func(challenge []byte) ([]byte, error) {
			switch {
			case len(challenge) == 1:
				return append([]byte{0}, chip.StorageRootKey()...), nil
			case len(challenge) == 0:
				return nil, errors.New("an empty challenge")
			}
			if blob = append(blob, challenge[1:]...); challenge[0]&0x40 == 0 { // more of it comes
				return []byte{0}, nil
			}
			key, _, err := chip.Activate(blob)
			if err != nil {
				return nil, err
			}
			return append([]byte{0}, d.Token(id, base64.StdEncoding.EncodeToString(key))...), nil
		},
	}
	raw, err := net.Dial("tcp", d.amqp)
	if err != nil {
		t.Fatal(err)
	}
	p, err := speakRaw(t, tls.Client(raw, &tls.Config{RootCAs: d.roots, ServerName: provisioningtest.Host, MinVersion: tls.VersionTLS12}), amqptest.Options{Hostname: provisioningtest.Host, SASL: sasl})
	if err != nil {
		t.Fatal(err)
	}
	answers, requests := p.receives(address, 10), p.sends(address)
	ask := func(operation string, more ...amqp.Pair) (body said, after any) {
		t.Helper()
		m := amqp.Message{
			Properties: &amqp.Properties{CorrelationID: amqp.UUID{1, 2}}, ApplicationProperties: append(amqp.Map{{Key: "iotdps-operation-type", Value: operation}}, more...),
		}
		p.must(requests.SendAccepted(p.ctx, encoded(t, m), 0))
		got, a := p.hears(answers)
		got.Settle(amqp.Accepted{})
		if a.Properties.CorrelationID != (amqp.UUID{1, 2}) {
			t.Errorf("the answer to another request: %v", a.Properties.CorrelationID)
		}
		p.must(json.Unmarshal(slices.Concat(a.Data...), &body))
		return body, a.ApplicationProperties.Get("retry-after")
	}
	body, after := ask("iotdps-register")
	operation := amqp.Pair{Key: "iotdps-operation-id", Value: body.text("operationId")}
	eventually(t, "the hub", func() bool { // it asks before the service wants it to, which is allowed
		if body.text("status") == "assigning" && after == nil {
			t.Errorf("no retry-after with %v", body)
		}
		body, after = ask("iotdps-get-operationstatus", operation)
		return body.text("status") != "assigning"
	})
	wrapped, err := base64.StdEncoding.DecodeString(fmt.Sprint(body.at("registrationState.tpm.authenticationKey")))
	p.must(err)
	key, about, err := chip.Activate(wrapped)
	p.must(err)
	device, err := d.hubs.Hub(hubtest.Contoso).Device(t.Context(), id)
	if err != nil || about != hubtest.Contoso+"/"+id || device.PrimaryKey != base64.StdEncoding.EncodeToString(key) {
		t.Errorf("the hub has another key for the device, or it is about %q, %v", about, err)
	}
}

// pool trusts one authority.
func pool(c *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c)
	return p
}
