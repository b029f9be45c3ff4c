package conformance

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/test/casebook"
)

// cases are what a hub and a provisioning service have to do for the SDKs. later says why there may be no test of one yet.
var cases = []struct{ id, what, later string }{
	{"C01", "MQTT SAS device connects on 8883 and on WS 443 with Node SDK", ""},
	{"C02", "Same for a module identity (d/m)", ""},
	{"C03", "X.509 thumbprint device connects without password; wrong cert refused", ""},
	{"C04", "CA-signed device: CN must equal id", ""},
	{"C05", "Wrong key, expired token, unknown device, disabled device each give CONNACK 5 and UnauthorizedError", ""},
	{"C06", "Token for device A cannot open device B", ""},
	{"C07", "Policy device token opens any device; service token does not", ""},
	{"C08", "Second connection with the same id closes the first; the first reconnects", ""},
	{"C09", "Keepalive x1.5 silence closes the link and connectionState turns Disconnected", ""},
	{"C10", "Token expiry closes the link; renewed CONNECT loses no C2D", ""},
	{"C11", "AMQP without SASL + CBS 200 opens; bad token 401 status-code gives UnauthorizedError", "AMQP only"},
	{"C12", "AMQP over WS", "AMQP only"},
	{"C13", "AMQP X.509 with no $cbs", "AMQP only"},
	{"C14", "Put-token renewal keeps links up", "AMQP only"},
	{"C15", "D2C over MQTT, AMQP, HTTP arrives once with body, app and system properties (mid, cid, ct, ce, exp, to) and hub stamps", ""},
	{"C16", "HTTP batch splits into messages", ""},
	{"C17", "Null/empty/unicode property values survive each transport", ""},
	{"C18", "QoS 2 publish, foreign topic, oversize each close the connection", ""},
	{"C19", "RETAIN/DUP/will become properties", ""},
	{"C20", "AMQP quota/throttle/size rejections map to the right SDK class", "AMQP only"},
	{"C21", "Service send reaches device on all three transports with to, ack, properties", ""},
	{"C22", "Complete/reject/abandon yield feedback Success/Rejected/redelivery with deliverycount+1", ""},
	{"C23", "Expiry gives Expired, 10 abandons give DeliveryCountExceeded", ""},
	{"C24", "51st queued message is refused (DeviceMaximumQueueDepthExceeded)", ""},
	{"C25", "Clean=0 delivers waiting C2D after reconnect, clean=1 waits for SUBSCRIBE", ""},
	{"C26", "Unacked MQTT C2D comes again", ""},
	{"C27", "Purge returns the count; feedback Purged", ""},
	{"C28", "Feedback batches arrive at the AMQP receiver; file notification after a device's upload notification", "AMQP receivers"},
	{"C29", "GET over MQTT and AMQP equals REST twin less metadata", ""},
	{"C30", "Reported patch raises $version once, null deletes, reply carries version", ""},
	{"C31", "Desired PATCH/PUT by service reaches subscriber with $version; not before subscription", ""},
	{"C32", "Bad patch (depth, size, key with .) -> 400 with errorCode body, link stays", ""},
	{"C33", "REST If-Match stale -> 412001; PUT replaces, PATCH merges", ""},
	{"C34", "Module twins separate from device twin", ""},
	{"C35", "Invoke over MQTT and AMQP returns status and payload; null payload", ""},
	{"C36", "Offline -> 404103 at once; connectTimeout waits for connect", ""},
	{"C37", "Device silent -> 504101 after responseTimeout", ""},
	{"C38", "Stream accept relays bytes both ways; reject gives is-accepted False; offline 404103; no answer 504101; token single use; closing one side closes the other; a grant's connection string opens its stream only", ""},
	{"C39", "Create/dup 409001/update/delete/If-Match rules", ""},
	{"C40", "Keys generated when empty; returned on GET", ""},
	{"C41", "Bulk 100 mixed results", ""},
	{"C42", "Query paging with continuation, projections (Raw), COUNT, modules, jobs", ""},
	{"C43", "Scheduled twin/method job runs, counts, cancel, dup id", ""},
	{"C44", "Configurations CRUD, metrics, applyConfigurationContent 204", ""},
	{"C45", "Statistics", ""},
	{"C46", "Error envelope + iothub-errorcode + tracking id on each failure", ""},
	{"C47", "Disabling a device closes its link", ""},
	{"C48", "Individual symmetric over HTTP, MQTT, AMQP: 202 then 200, retry-after honoured", ""},
	{"C49", "Group key derivation (vector above), group key itself refused", ""},
	{"C50", "X.509 individual and group (CA chain) by CN", ""},
	{"C51", "Device is created on the assigned hub with the enrollment's initial twin and connects at once", ""},
	{"C52", "Disabled enrollment, unknown id, bad signature -> 401002-style errors", ""},
	{"C53", "Reprovision: migrate / reset / keep, substatus right", ""},
	{"C54", "Custom allocation webhook ok and failing (400207)", ""},
	{"C55", "Enrollment CRUD, etag 412, query, bulk, attestationmechanism", ""},
	{"C56", "Payload round trip", ""},
	{"C57", "TPM nonce flow over HTTP (simulated TPM)", ""},
}

// book keeps account of which tests show which of them.
var book = func() *casebook.Book {
	var list []casebook.Case
	for _, c := range cases {
		list = append(list, casebook.Case{ID: c.id, What: c.what, Later: c.later})
	}
	return casebook.New(list)
}()

// covers says that a test, or a subtest, is a proof of a case with these npm packages, or with something else, whose name then holds a space
// ("raw MQTT"). It is what docs/compatibility.md is made of.
func covers(t *testing.T, id string, with ...string) {
	t.Helper()
	for _, name := range with {
		w := casebook.With{Name: name}
		if !strings.Contains(name, " ") {
			var err error
			if w, err = casebook.Package(name); err != nil {
				t.Fatal(err)
			}
		}
		book.Covers(t, id, w)
	}
}
