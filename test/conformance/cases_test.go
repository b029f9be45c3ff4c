package conformance

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/test/casebook"
)

// cases are what a hub and a provisioning service have to do for the SDKs.
var cases = []casebook.Case{
	{ID: "C01", What: "MQTT SAS device connects on 8883 and on WS 443 with Node SDK"},
	{ID: "C02", What: "Same for a module identity (d/m)"},
	{ID: "C03", What: "X.509 thumbprint device connects without password; wrong cert refused"},
	{ID: "C04", What: "CA-signed device: CN must equal id"},
	{ID: "C05", What: "Wrong key, expired token, unknown device, disabled device each give CONNACK 5 and UnauthorizedError"},
	{ID: "C06", What: "Token for device A cannot open device B"},
	{ID: "C07", What: "Policy device token opens any device; service token does not"},
	{ID: "C08", What: "Second connection with the same id closes the first; the first reconnects"},
	{ID: "C09", What: "Keepalive x1.5 silence closes the link and connectionState turns Disconnected"},
	{ID: "C10", What: "Token expiry closes the link; renewed CONNECT loses no C2D"},
	{ID: "C11", What: "AMQP without SASL + CBS 200 opens; bad token 401 status-code gives UnauthorizedError"},
	{ID: "C12", What: "AMQP over WS"},
	{ID: "C13", What: "AMQP X.509 with no $cbs"},
	{ID: "C14", What: "Put-token renewal keeps links up"},
	{ID: "C15", What: "D2C over MQTT, AMQP, HTTP arrives once with body, app and system properties (mid, cid, ct, ce, exp, to) and hub stamps"},
	{ID: "C16", What: "HTTP batch splits into messages"},
	{ID: "C17", What: "Null/empty/unicode property values survive each transport"},
	{ID: "C18", What: "QoS 2 publish, foreign topic, oversize each close the connection"},
	{ID: "C19", What: "RETAIN/DUP/will become properties"},
	{ID: "C20", What: "AMQP quota/throttle/size rejections map to the right SDK class"},
	{ID: "C21", What: "Service send reaches device on all three transports with to, ack, properties"},
	{ID: "C22", What: "Complete/reject/abandon yield feedback Success/Rejected/redelivery with deliverycount+1"},
	{ID: "C23", What: "Expiry gives Expired, 10 abandons give DeliveryCountExceeded"},
	{ID: "C24", What: "51st queued message is refused (DeviceMaximumQueueDepthExceeded)"},
	{ID: "C25", What: "Clean=0 delivers waiting C2D after reconnect, clean=1 waits for SUBSCRIBE"},
	{ID: "C26", What: "Unacked MQTT C2D comes again"},
	{ID: "C27", What: "Purge returns the count; feedback Purged"},
	{ID: "C28", What: "Feedback batches arrive at the AMQP receiver; file notification after a device's upload notification"},
	{ID: "C29", What: "GET over MQTT and AMQP equals REST twin less metadata"},
	{ID: "C30", What: "Reported patch raises $version once, null deletes, reply carries version"},
	{ID: "C31", What: "Desired PATCH/PUT by service reaches subscriber with $version; not before subscription"},
	{ID: "C32", What: "Bad patch (depth, size, key with .) -> 400 with errorCode body, link stays"},
	{ID: "C33", What: "REST If-Match stale -> 412001; PUT replaces, PATCH merges"},
	{ID: "C34", What: "Module twins separate from device twin"},
	{ID: "C35", What: "Invoke over MQTT and AMQP returns status and payload; null payload"},
	{ID: "C36", What: "Offline -> 404103 at once; connectTimeout waits for connect"},
	{ID: "C37", What: "Device silent -> 504101 after responseTimeout"},
	{ID: "C38", What: "Stream accept relays bytes both ways; reject gives is-accepted False; offline 404103; no answer 504101; token single use; closing one side closes the other; a grant's connection string opens its stream only"},
	{ID: "C39", What: "Create/dup 409001/update/delete/If-Match rules"},
	{ID: "C40", What: "Keys generated when empty; returned on GET"},
	{ID: "C41", What: "Bulk 100 mixed results"},
	{ID: "C42", What: "Query paging with continuation, projections (Raw), COUNT, modules, jobs"},
	{ID: "C43", What: "Scheduled twin/method job runs, counts, cancel, dup id"},
	{ID: "C44", What: "Configurations CRUD, metrics, applyConfigurationContent 204"},
	{ID: "C45", What: "Statistics"},
	{ID: "C46", What: "Error envelope + iothub-errorcode + tracking id on each failure"},
	{ID: "C47", What: "Disabling a device closes its link"},
	{ID: "C48", What: "Individual symmetric over HTTP, MQTT, AMQP: 202 then 200, retry-after honoured"},
	{ID: "C49", What: "Group key derivation (vector above), group key itself refused"},
	{ID: "C50", What: "X.509 individual and group (CA chain) by CN"},
	{ID: "C51", What: "Device is created on the assigned hub with the enrollment's initial twin and connects at once"},
	{ID: "C52", What: "Disabled enrollment, unknown id, bad signature -> 401002-style errors"},
	{ID: "C53", What: "Reprovision: migrate / reset / keep, substatus right"},
	{ID: "C54", What: "Custom allocation webhook ok and failing (400207)"},
	{ID: "C55", What: "Enrollment CRUD, etag 412, query, bulk, attestationmechanism"},
	{ID: "C56", What: "Payload round trip"},
	{ID: "C57", What: "TPM nonce flow over HTTP and AMQP (simulated TPM)"},
}

// book keeps account of which tests show which of them.
var book = casebook.New(cases)

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
