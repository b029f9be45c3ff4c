package mqtt_test

import (
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// good is every packet with its bytes, used by the tests of encoding, decoding, reading and as the seed of the fuzzers.
var good = []struct {
	name   string
	packet mqtt.Packet
	bytes  string
}{
	{"connect, nothing but an id", &mqtt.Connect{ClientID: "d", CleanSession: true}, "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01d"},
	{"connect as an SDK does", &mqtt.Connect{ClientID: "d1", KeepAlive: 180, HasUserName: true, UserName: "h/d1/?api-version=2021-04-12", HasPassword: true, Password: []byte("SharedAccessSignature sr=x")},
		"\x10\x48\x00\x04MQTT\x04\xc0\x00\xb4\x00\x02d1\x00\x1ch/d1/?api-version=2021-04-12\x00\x1aSharedAccessSignature sr=x"},
	{"connect with a will", &mqtt.Connect{ClientID: "d", Will: &mqtt.Will{Topic: "t", Payload: []byte("gone"), QoS: 1, Retain: true}},
		"\x10\x16\x00\x04MQTT\x04\x2c\x00\x00\x00\x01d\x00\x01t\x00\x04gone"},
	{"connect with an empty id and empty password", &mqtt.Connect{HasUserName: true, HasPassword: true, Password: []byte{}}, "\x10\x10\x00\x04MQTT\x04\xc0\x00\x00\x00\x00\x00\x00\x00\x00"},
	{"connack accepted", mqtt.Connack{}, "\x20\x02\x00\x00"},
	{"connack session present", mqtt.Connack{SessionPresent: true}, "\x20\x02\x01\x00"},
	{"connack not authorized", mqtt.Connack{Code: mqtt.NotAuthorized}, "\x20\x02\x00\x05"},
	{"publish QoS 0", &mqtt.Publish{Topic: []byte("a/b"), Payload: []byte("hi")}, "\x30\x07\x00\x03a/bhi"},
	{"publish QoS 0 retained, empty", &mqtt.Publish{Topic: []byte("a"), Payload: []byte{}, Retain: true}, "\x31\x03\x00\x01a"},
	{"publish QoS 1", &mqtt.Publish{Topic: []byte("a"), Payload: []byte("x"), QoS: 1, ID: 10}, "\x32\x06\x00\x01a\x00\x0ax"},
	{"publish QoS 1 again", &mqtt.Publish{Topic: []byte("a"), Payload: []byte("x"), QoS: 1, ID: 0x1234, Dup: true}, "\x3a\x06\x00\x01a\x12\x34x"},
	{"publish QoS 2", &mqtt.Publish{Topic: []byte("a"), Payload: []byte("x"), QoS: 2, ID: 1}, "\x34\x06\x00\x01a\x00\x01x"},
	{"publish to a device id with wildcards", &mqtt.Publish{Topic: []byte("devices/a+#/x"), Payload: []byte{}}, "\x30\x0f\x00\x0ddevices/a+#/x"},
	{"puback", mqtt.Ack{Of: mqtt.PUBACK, ID: 513}, "\x40\x02\x02\x01"},
	{"pubrec", mqtt.Ack{Of: mqtt.PUBREC, ID: 1}, "\x50\x02\x00\x01"},
	{"pubrel", mqtt.Ack{Of: mqtt.PUBREL, ID: 1}, "\x62\x02\x00\x01"},
	{"pubcomp", mqtt.Ack{Of: mqtt.PUBCOMP, ID: 1}, "\x70\x02\x00\x01"},
	{"subscribe", &mqtt.Subscribe{ID: 7, Topics: []mqtt.Subscription{{Filter: "$iothub/twin/res/#", QoS: 0}, {Filter: "b", QoS: 2}}},
		"\x82\x1b\x00\x07\x00\x12$iothub/twin/res/#\x00\x00\x01b\x02"},
	{"suback", &mqtt.Suback{ID: 7, Codes: []byte{0, 1, 0x80}}, "\x90\x05\x00\x07\x00\x01\x80"},
	{"unsubscribe", &mqtt.Unsubscribe{ID: 8, Filters: []string{"a", "b/#"}}, "\xa2\x0a\x00\x08\x00\x01a\x00\x03b/#"},
	{"unsuback", mqtt.Ack{Of: mqtt.UNSUBACK, ID: 8}, "\xb0\x02\x00\x08"},
	{"pingreq", mqtt.Bare(mqtt.PINGREQ), "\xc0\x00"},
	{"pingresp", mqtt.Bare(mqtt.PINGRESP), "\xd0\x00"},
	{"disconnect", mqtt.Bare(mqtt.DISCONNECT), "\xe0\x00"},
}

// bad is bytes that are no MQTT 3.1.1 packet, each with the clause it breaks.
var bad = []struct{ name, bytes, clause string }{
	{"type 0", "\x00\x00", "2.2.1"},
	{"type 15", "\xf0\x00", "2.2.1"},
	{"pingreq with flags", "\xc1\x00", "2.2.2-2"},
	{"subscribe without its flag", "\x80\x05\x00\x01\x00\x00\x00", "2.2.2-2"},
	{"pingreq with a body", "\xc0\x01x", "3.12"},
	{"puback of three bytes", "\x40\x03\x00\x01\x00", "3.4"},
	{"connect that ends in its id", "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x02d", "1.5.3"},
	{"connect with a byte too many", "\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x01d!", "2.2.3"},
	{"connect with the reserved flag", "\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01d", "3.1.2-3"},
	{"connect with a password alone", "\x10\x0e\x00\x04MQTT\x04\x40\x00\x00\x00\x00\x00\x00", "3.1.2-22"},
	{"connect with will flags and no will", "\x10\x0c\x00\x04MQTT\x04\x20\x00\x00\x00\x00", "3.1.2-13"},
	{"connect with will QoS 3", "\x10\x10\x00\x04MQTT\x04\x1c\x00\x00\x00\x00\x00\x00\x00\x00", "3.1.2-14"},
	{"connect with a NUL in its id", "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\x00", "1.5.3-1"},
	{"connack with reserved flags", "\x20\x02\x02\x00", "3.2.2.1"},
	{"connack with a reserved code", "\x20\x02\x00\x06", "3.2.2.3"},
	{"connack with a session in a refusal", "\x20\x02\x01\x05", "3.2.2-4"},
	{"publish with QoS 3", "\x36\x05\x00\x01a\x00\x01", "3.3.1-4"},
	{"publish DUP with QoS 0", "\x38\x03\x00\x01a", "3.3.1-2"},
	{"publish without a topic", "\x30\x02\x00\x00", "4.7.3-1"},
	{"publish with a surrogate in its topic", "\x30\x05\x00\x03\xed\xa0\x80", "1.5.3-1"},
	{"publish with identifier 0", "\x32\x05\x00\x01a\x00\x00", "2.3.1-1"},
	{"publish that ends in its topic", "\x30\x03\x00\x05a", "1.5.3"},
	{"subscribe to nothing", "\x82\x02\x00\x01", "3.8.3-3"},
	{"subscribe with QoS 3", "\x82\x06\x00\x01\x00\x01a\x03", "3.8.3-4"},
	{"subscribe with identifier 0", "\x82\x06\x00\x00\x00\x01a\x00", "2.3.1-1"},
	{"subscribe with an empty filter", "\x82\x05\x00\x01\x00\x00\x00", "4.7.3-1"},
	{"suback with a reserved code", "\x90\x03\x00\x01\x03", "3.9.3-2"},
	{"unsubscribe from nothing", "\xa2\x02\x00\x01", "3.10.3-2"},
}
