package amqpdoor_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/provisioning"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/provisioning/tpm/tpmtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// saslTPM is a device's side of the mechanism, as strict as that of the SDK in Java: two parts, numbered.
type saslTPM struct {
	w      *world
	chip   *tpmtest.TPM
	id     string
	step   int
	blob   []byte
	answer func(step int, response []byte) []byte // changes what is said; may be nil
}

func (s *saslTPM) options() amqptest.Options {
	initial := bytes.Join([][]byte{nil, []byte(s.w.Service.Scope()), []byte(s.id), s.chip.EndorsementKey()}, []byte{0})
	return amqptest.Options{SASL: &amqptest.SASL{Mechanism: "TPM", Initial: initial, Hostname: s.w.Service.Scope() + "/registrations/" + s.id, Answer: s.respond}}
}

func (s *saslTPM) respond(challenge []byte) ([]byte, error) {
	response := []byte{0}
	switch {
	case s.step == 0 && bytes.Equal(challenge, []byte{0}):
		response = append(response, s.chip.StorageRootKey()...)
	case s.step == 1 && len(challenge) > 1 && challenge[0] == 0x80:
		s.blob = append(s.blob, challenge[1:]...)
	case s.step == 2 && len(challenge) > 1 && challenge[0] == 0xc1:
		key, _, err := s.chip.Activate(append(s.blob, challenge[1:]...))
		if err != nil {
			return nil, err
		}
		response = append(response, s.w.Token(s.id, base64.StdEncoding.EncodeToString(key))...)
	default:
		return nil, errors.New("an unexpected challenge")
	}
	if s.answer != nil {
		response = s.answer(s.step, response)
	}
	s.step++
	return response, nil
}

// C57 over AMQP.
func TestADeviceWithATPM(t *testing.T) {
	w := start(t, pt.Options{})
	chip, err := tpmtest.New()
	w.must(err)
	w.Put(`{"registrationId":"chip","attestation":{"type":"tpm","tpm":{"endorsementKey":"` + base64.StdEncoding.EncodeToString(chip.EndorsementKey()) + `"}}}`)
	p := w.open("chip", (&saslTPM{w: w, chip: chip, id: "chip"}).options())
	var body map[string]any
	_, body = p.want("a", "", operation("iotdps-register"))
	id := body["operationId"]
	for body["status"] == provisioning.Assigning {
		_, body = p.want("b", "", operation("iotdps-get-operationstatus"), amqp.Pair{Key: "iotdps-operation-id", Value: id})
	}
	state, _ := body["registrationState"].(map[string]any)
	if body["status"] != provisioning.Assigned || state["tpm"] == nil {
		t.Fatalf("%v", body)
	}
	wrapped, err := base64.StdEncoding.DecodeString(state["tpm"].(map[string]any)["authenticationKey"].(string))
	w.must(err)
	hub := state["assignedHub"].(string)
	key, about, err := chip.Activate(wrapped)
	d, _ := w.Hubs.Get(hub).Device("chip")
	if err != nil || about != hub+"/chip" || base64.StdEncoding.EncodeToString(key) != d.Primary {
		t.Errorf("%q, %v", about, err)
	}

	other, err := tpmtest.New()
	w.must(err)
	for name, s := range map[string]*saslTPM{
		"another TPM":    {w: w, chip: other, id: "chip"},
		"another device": {w: w, chip: chip, id: "d"},
		"no zero byte": {w: w, chip: chip, id: "chip", answer: func(step int, r []byte) []byte {
			if step == 1 {
				return []byte("x")
			}
			return r
		}},
		"nothing": {w: w, chip: chip, id: "chip", answer: func(int, []byte) []byte { return nil }},
		"no token": {w: w, chip: chip, id: "chip", answer: func(step int, r []byte) []byte {
			if step == 2 {
				return []byte{0}
			}
			return r
		}},
		"a token of another key": {w: w, chip: chip, id: "chip", answer: func(step int, r []byte) []byte {
			if step == 2 {
				return append([]byte{0}, w.Token("chip", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))))...)
			}
			return r
		}},
	} {
		_, err := w.dial(s.options())
		if no, ok := errors.AsType[*amqptest.Refused](err); !ok || no.Code != amqp.SASLAuth {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, initial := range []string{"", "\x00", "\x00a\x00b", "a\x00b\x00c\x00d", "\x00\x00b\x00c", "\x00" + w.Service.Scope() + "\x00\x00c"} {
		o := amqptest.Options{SASL: &amqptest.SASL{Mechanism: "TPM", Initial: []byte(initial)}}
		_, err := w.dial(o)
		if no, ok := errors.AsType[*amqptest.Refused](err); !ok || no.Code != amqp.SASLAuth {
			t.Errorf("%q: %v", initial, err)
		}
	}
}
