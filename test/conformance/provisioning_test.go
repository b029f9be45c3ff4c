package conformance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/provisioning/tpm/tpmtest"
)

const (
	provisioningGroupKey = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
	provisioningGroup    = `{"enrollmentGroupId":"keys","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"` + provisioningGroupKey + `","secondaryKey":"` + provisioningGroupKey + `"}}}`
)

// provisioningTransports are the names that provisioning.js has for them, and their packages; those over WebSockets come last.
var (
	provisioningTransports = []transport{
		{"http", "azure-iot-provisioning-device-http"}, {"mqtt", "azure-iot-provisioning-device-mqtt"}, {"amqp", "azure-iot-provisioning-device-amqp"},
		{"mqttws", "azure-iot-provisioning-device-mqtt"}, {"amqpws", "azure-iot-provisioning-device-amqp"},
	}
	onPorts = provisioningTransports[:3]
)

func keyEnrollment(id, more string) string {
	return `{"registrationId":"` + id + `","attestation":{"type":"symmetricKey"}` + more + `}`
}

func jsonText(s string) string {
	b, _ := json.Marshal(s) // strings always marshal
	return string(b)
}

func TestProvisioningByKey(t *testing.T) {
	d := startProvisioning(t, func(c *provisioning.Config) { c.RetryAfter = 3 * time.Second })
	for _, tr := range provisioningTransports {
		t.Run("C48 individual symmetric key over "+tr.name, func(t *testing.T) {
			t.Parallel() // each waits three seconds
			covers(t, "C48", tr.pkg, "azure-iot-security-symmetric-key")
			id := "own-" + tr.name
			d.Put(keyEnrollment(id, ""))
			v := d.play(t, "register", "TRANSPORT="+tr.name, "ID="+id, "KEY="+d.Key(id)).step("register", "", "body.status", "assigned",
				"body.deviceId", id, "body.substatus", "initialAssignment")
			// By itself the SDK asks again after two seconds.
			if took, _ := v.at("took").(float64); took < 2900 {
				t.Errorf("retry-after was not honoured: it took %v ms", took)
			}
		})
	}
}

// TestRegistrations has what waits for the service at most a second each time, beside each other.
func TestRegistrations(t *testing.T) {
	d := startProvisioning(t, func(c *provisioning.Config) { c.LoopbackWebhooks = true })
	for name, test := range map[string]func(*testing.T, *dps){
		"group keys": registrationsByGroupKey, "certificates": registrationsByCertificate, "connect": provisionedDevicesConnect,
		"again": reprovisioning, "custom allocation": customAllocation, "TPM": registrationByTPM,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

func registrationsByGroupKey(t *testing.T, d *dps) {
	d.PutGroup(provisioningGroup)
	for _, tr := range onPorts {
		t.Run("C49 group key over "+tr.name, func(t *testing.T) {
			covers(t, "C49", tr.pkg, "azure-iot-security-symmetric-key")
			const id = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6"
			d.play(t, "register", "TRANSPORT="+tr.name, "ID="+id, "KEY=Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=").
				step("register", "", "body.status", "assigned", "body.registrationId", id)
			wrong := map[string]string{"http": "UnauthorizedError", "mqtt": "Error", "amqp": "NotConnectedError"}[tr.name]
			d.play(t, "register", "TRANSPORT="+tr.name, "ID="+id, "KEY="+provisioningGroupKey).step("register", wrong)
		})
	}
}

func registrationsByCertificate(t *testing.T, d *dps) {
	root := provisioningtest.Sign(t, nil, "root", provisioningtest.CA)
	plant := provisioningtest.Sign(t, root, "plant", provisioningtest.CA)
	d.PutGroup(`{"enrollmentGroupId":"by-root","attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":` + jsonText(root.PEM()) + `}}}}}`)
	for _, tr := range provisioningTransports {
		t.Run("C50 X.509 over "+tr.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "C50", tr.pkg, "azure-iot-security-x509")
			env := func(id string, c *provisioningtest.Certified) []string {
				return []string{"TRANSPORT=" + tr.name, "ID=" + id, "CERT=" + c.ChainPEM(), "CERT_KEY=" + c.KeyPEM(t)}
			}
			own := provisioningtest.Sign(t, nil, "own-"+tr.name)
			d.Put(`{"registrationId":"own-` + tr.name + `","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + jsonText(own.PEM()) + `}}}}}`)
			d.play(t, "register", env("own-"+tr.name, own)...).step("register", "", "body.status", "assigned", "body.x509.enrollmentGroupId", nil)
			member := provisioningtest.Sign(t, plant, "Press-"+tr.name)
			d.play(t, "register", env("press-"+tr.name, member)...).step("register", "", "body.status", "assigned", "body.x509.enrollmentGroupId", "by-root")
			wrong := map[string]string{"http": "UnauthorizedError", "mqtt": "Error", "mqttws": "Error", "amqp": "amqp:unauthorized-access", "amqpws": "amqp:unauthorized-access"}[tr.name]
			d.play(t, "register", env("another-name", member)...).step("register", wrong)
		})
	}
}

func provisionedDevicesConnect(t *testing.T, d *dps) {
	twin := `,"iotHubHostName":"` + hubtest.Fabrikam + `","initialTwin":{"tags":{"hall":3},"properties":{"desired":{"rate":5}}}`
	leaf := provisioningtest.Sign(t, nil, "by-cert")
	d.Put(keyEnrollment("by-key", twin))
	d.Put(`{"registrationId":"by-cert","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + jsonText(leaf.PEM()) + `}}}}` + twin + `}`)
	for id, env := range map[string][]string{
		"by-key": {"KEY=" + d.Key("by-key"), "TRANSPORT=mqtt"}, "by-cert": {"CERT=" + leaf.PEM(), "CERT_KEY=" + leaf.KeyPEM(t), "TRANSPORT=amqp"},
	} {
		t.Run("C51 assigned device connects at once "+id, func(t *testing.T) {
			t.Parallel()
			covers(t, "C51", "azure-iot-provisioning-device", "azure-iot-device-"+map[string]string{"by-key": "mqtt", "by-cert": "amqp"}[id])
			s := d.play(t, "connect", append(env, "ID="+id)...)
			s.step("register", "", "body.assignedHub", hubtest.Fabrikam)
			s.step("connect", "", "body.rate", 5)
			if got := d.twin(hubtest.Fabrikam, id); !strings.Contains(string(got.Tags), `"hall":3`) {
				t.Errorf("%s", got.Tags)
			}
		})
	}
}

func TestProvisioningRefuses(t *testing.T) {
	beside(t)
	d := startProvisioning(t, nil)
	d.Put(keyEnrollment("on", ""))
	d.Put(keyEnrollment("off", `,"provisioningStatus":"disabled"`))
	for _, tr := range onPorts {
		for name, env := range map[string][]string{
			"disabled": {"ID=off", "KEY=" + d.Key("off")}, "unknown": {"ID=nobody", "KEY=" + d.Key("on")}, "bad signature": {"ID=on", "KEY=" + d.Key("off")},
		} {
			t.Run("C52 "+name+" over "+tr.name, func(t *testing.T) {
				covers(t, "C52", tr.pkg)
				s := d.play(t, "register", append(env, "TRANSPORT="+tr.name)...)
				if tr.name == "mqtt" { // the connection is refused, which the SDK tells in words only
					if v := s.step("register", "Error"); !strings.Contains(v.text("message"), "Not authorized") {
						t.Errorf("%v", v)
					}
					return
				}
				if tr.name == "amqp" {
					s.step("register", "NotConnectedError")
					return
				}
				s.step("register", "UnauthorizedError")
			})
		}
	}
}

func reprovisioning(t *testing.T, d *dps) {
	for _, c := range []struct {
		name                         string
		over                         transport
		policy, hub, substatus, tags string
	}{
		{"migrate", onPorts[1], `{"updateHubAssignment":true,"migrateDeviceData":true}`, hubtest.Fabrikam, "deviceDataMigrated", `"by":"operator"`},
		{"reset", onPorts[2], `{"updateHubAssignment":true,"migrateDeviceData":false}`, hubtest.Fabrikam, "deviceDataReset", `"by":"enrollment"`},
		{"keep", onPorts[0], `{"updateHubAssignment":false,"migrateDeviceData":false}`, hubtest.Contoso, "initialAssignment", `"by":"operator"`},
	} {
		t.Run("C53 reprovision "+c.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "C53", "azure-iot-provisioning-device", c.over.pkg)
			doc := func(hub string) string {
				return keyEnrollment(c.name, `,"iotHubHostName":"`+hub+`","reprovisionPolicy":`+c.policy+`,"initialTwin":{"tags":{"by":"enrollment"}}`)
			}
			d.Put(doc(hubtest.Contoso))
			s := d.play(t, "again", "TRANSPORT="+c.over.name, "ID="+c.name, "KEY="+d.Key(c.name))
			s.goOn("again")
			s.step("register", "", "body.assignedHub", hubtest.Contoso, "body.substatus", "initialAssignment")
			d.patch(hubtest.Contoso, c.name, `{"by":"operator"}`)
			if _, err := d.Service.PutEnrollment(t.Context(), c.name, []byte(doc(hubtest.Fabrikam)), false, provisioning.AnyETag); err != nil {
				t.Fatal(err)
			}
			s.goOn("again")
			s.step("register", "", "body.assignedHub", c.hub, "body.substatus", c.substatus)
			s.goOn("enough")
			if got := d.twin(c.hub, c.name); !strings.Contains(strings.ReplaceAll(string(got.Tags), " ", ""), c.tags) {
				t.Errorf("%s", got.Tags)
			}
		})
	}
}

func customAllocation(t *testing.T, d *dps) {
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Device struct {
				Payload json.RawMessage `json:"payload"`
			} `json:"deviceRuntimeContext"`
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"iotHubHostName":%q,"payload":{"heard":%s}}`, hubtest.Fabrikam, asked.Device.Payload)
	}))
	t.Cleanup(hook.Close)
	for _, tr := range onPorts {
		for _, c := range []struct{ path, name string }{{"", "C56 payload round trip over " + tr.name}, {"/broken", "C54 failing webhook over " + tr.name}} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				covers(t, "C54", tr.pkg)
				id := "asked-" + tr.name + strings.ReplaceAll(c.path, "/", "-")
				d.Put(keyEnrollment(id, `,"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"`+hook.URL+c.path+`","apiVersion":"2019-03-31"}`))
				s := d.play(t, "register", "TRANSPORT="+tr.name, "ID="+id, "KEY="+d.Key(id), `PAYLOAD={"model":"gr\u00fcn"}`)
				if c.path != "" {
					s.step("register", "ProvisioningRegistrationFailedError", "code", 400207)
					return
				}
				covers(t, "C56", tr.pkg)
				s.step("register", "", "body.assignedHub", hubtest.Fabrikam, "body.payload.heard.model", "grün")
			})
		}
	}
}

func TestEnrollments(t *testing.T) {
	beside(t)
	d := startProvisioning(t, nil)
	d.PutGroup(provisioningGroup)
	owner, err := d.Service.ConnectionString(provisioning.PolicyOwner)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := d.Service.ConnectionString(provisioning.PolicyRead)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("C55 enrollments, groups, queries, bulk and states", func(t *testing.T) {
		covers(t, "C55", "azure-iot-provisioning-service")
		ca := provisioningtest.Sign(t, nil, "ca", provisioningtest.CA)
		s := d.play(t, "enrollments", "SERVICE="+owner, "READER="+reader, "CA="+ca.PEM())
		s.step("create", "", "body.registrationId", "made-1", "body.deviceId", "Made+1", "body.initialTwin.properties.desired.rate", 5, "body.capabilities.iotEdge", true,
			"body.attestation.symmetricKey.primaryKey", nil, "body.allocationPolicy", "hashed", "body.reprovisionPolicy.migrateDeviceData", true)
		s.step("create again", "DeviceAlreadyExistsError")
		s.step("update", "", "body.provisioningStatus", "disabled", "body.initialTwin.tags.hall", 3)
		s.step("update stale", "InvalidEtagError")
		s.step("get", "", "body.provisioningStatus", "disabled")
		s.step("get nobody", "Error", "message", "Not found")
		if v := s.step("mechanism", "", "body.type", "symmetricKey"); len(fmt.Sprint(v.at("body.symmetricKey.primaryKey"))) != 88 {
			t.Errorf("%v", v)
		}
		s.step("bad", "ArgumentError")
		s.step("group", "", "body.enrollmentGroupId", "line-1", "body.attestation.x509.signingCertificates.primary.info.subjectName", "CN=ca")
		s.step("get group", "", "body.attestation.type", "x509")
		s.step("group mechanism", "", "body.x509.signingCertificates.primary.certificate", ca.Base64())
		s.step("bulk", "", "body.isSuccessful", false, "body.errors", "[map[errorCode:409201 errorStatus:\"made-1\" exists already registrationId:made-1]]")
		s.step("query", "", "body", "[bulk-1 bulk-2 made-1]")
		if v := s.step("groups", ""); len(list(v, "body")) != 2 {
			t.Errorf("%v", v)
		}
		key, _ := provisioning.DeriveKey(provisioningGroupKey, "reg-1")
		d.Register(provisioning.Proof{RegistrationID: "reg-1", Token: d.Token("reg-1", key)}, provisioning.Registration{})
		s.goOn()
		s.step("state", "", "body.status", "assigned", "body.deviceId", "reg-1")
		if v := s.step("states", ""); len(list(v, "body")) != 1 {
			t.Errorf("%v", v)
		}
		s.step("delete state", "")
		s.step("state again", "Error", "message", "Not found")
		s.step("delete stale", "InvalidEtagError")
		s.step("delete", "")
		s.step("delete again", "Error")
		s.step("delete group", "")
		s.step("wrong key", "UnauthorizedError")
		s.step("read only", "UnauthorizedError")
	})
}

func list(v said, path string) []any {
	l, _ := v.at(path).([]any)
	return l
}

// registrationByTPM has a TPM that the test plays: azure-iot-security-tpm needs one of the machine.
func registrationByTPM(t *testing.T, d *dps) {
	chip, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString
	d.Put(`{"registrationId":"chip","attestation":{"type":"tpm","tpm":{"endorsementKey":"` + text(chip.EndorsementKey()) + `"}},"iotHubHostName":"` + hubtest.Contoso + `"}`)
	t.Run("C57 TPM nonce flow over HTTP", func(t *testing.T) {
		covers(t, "C57", "azure-iot-provisioning-device-http", "azure-iot-provisioning-device")
		s := d.play(t, "tpm", "TRANSPORT=http", "ID=chip", "EK="+text(chip.EndorsementKey()), "SRK="+text(chip.StorageRootKey()))
		activate := func() string {
			blob, err := base64.StdEncoding.DecodeString(s.next().text("activate"))
			if err != nil {
				t.Fatal(err)
			}
			key, _, err := chip.Activate(blob)
			if err != nil {
				t.Fatal(err)
			}
			s.goOn(text(key))
			return text(key)
		}
		activate() // to register with
		forHub := activate()
		s.step("register", "", "body.status", "assigned", "body.assignedHub", hubtest.Contoso)
		device, err := d.hubs.Hub(hubtest.Contoso).Device(t.Context(), "chip")
		if err != nil || device.PrimaryKey != forHub {
			t.Errorf("the hub has another key for the device, %v", err)
		}
		s.step("hub key", "", "body", forHub)
	})
	t.Run("C57 TPM nonce flow over AMQP", func(t *testing.T) { registrationByTPMOverAMQP(t, d) })
}
