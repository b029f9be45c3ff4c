package settings_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/settings"
)

const (
	policy = "IotHubConnectionString=HostName=hub.example.net;SharedAccessKeyName=device;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0"
	secret = "c2VjcmV0"
)

func read(environ ...string) (*settings.Settings, error) {
	return settings.Read(settings.Input{Environ: append([]string{policy}, environ...), Machine: "pod-1"})
}

// file writes a settings file and returns it as an environment variable.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "File=" + name
}

func sample(name string) string { return "File=testdata/telemetry-simulator/" + name }

// bodies renders what each device of the settings sends first, second, ..
func bodies(t *testing.T, s *settings.Settings, n int) string {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var out []string
	for _, id := range s.Devices {
		src := s.Recipe.For(id)
		for range n {
			_, b, err := src.Next(time.Unix(0, 0), random, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(b))
		}
	}
	return strings.Join(out, " ")
}

func TestDefaultsAreTheTelemetrySimulators(t *testing.T) {
	s, err := read()
	if err != nil {
		t.Fatal(err)
	}
	if s.Hub != "hub.example.net" || strings.Join(s.Devices, " ") != "sim000001" || s.MessageCount != 100 || s.SignIn != settings.Policy || s.Protocol != settings.MQTT ||
		s.DuplicateEvery != 0 || fmt.Sprint(s.Intervals.For("sim000001")) != "[1s]" || s.Ramp != 0 || s.Verify || len(s.Notes) != 0 {
		t.Errorf("%+v", s)
	}
	if got := bodies(t, s, 2); got != `{"deviceId": "sim000001", "time": "1970-01-01T00:00:00.0000000Z", "counter": 1} {"deviceId": "sim000001", "time": "1970-01-01T00:00:00.0000000Z", "counter": 2}` {
		t.Errorf("bodies %s", got)
	}
}

func TestFilesOfTheTelemetrySimulator(t *testing.T) {
	s, err := read(sample("test1-config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := bodies(t, s, 4); got != `{"value": "1" } {"value": "true" } {"value": "2" } {"value": "true" }` {
		t.Errorf("test1: %s", got)
	}
	s, err = read(sample("test3-config-multiple-devices.json"), "DeviceList=device0001,device0002;device0003")
	if err != nil {
		t.Fatal(err)
	}
	if got := bodies(t, s, 2); got != `{"value":"1"} {"value":"true"} {"value":"myfixvalue"} {"value":"myfixvalue"} {"a":"b","value":"1"} {"a":"b","value":"true"}` {
		t.Errorf("test3: %s", got)
	}
	s, err = read(sample("test5-config-payloads-as-json.json"), "DeviceList=device0001,device0002")
	if err != nil {
		t.Fatal(err)
	}
	if got := bodies(t, s, 1); got != `{"a_second_value":"20","value":"1"} {"value":"myfixvalue"}` {
		t.Errorf("test5: %s", got)
	}
	_, err = read(sample("test7-config-payloads-with-invalid-variable-intervals.json"))
	if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), `Intervals.sim000001: "-10" is not a number of milliseconds above 0 (testdata/`) {
		t.Errorf("test7: %v", err)
	}
}

func TestWhoBeatsWhom(t *testing.T) {
	f := file(t, "\ufeff{ // a remark\n \"deviceCount\": 3, \"Intervals\": {\"sim000001\": [100, 200], \"sim000002\": \"300;400\"}, \"MessageCount\": 7, }")
	in := settings.Input{Environ: []string{policy, f, "DEVICECOUNT=2", "DeviceIndex=5", "Intervals__sim000003=50", "Interval=9", "MessageCount=1"}, Flags: map[string]string{"MessageCount": "8"}}
	s, err := settings.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(s.Devices, " ") != "sim000005 sim000006 sim000007" || s.MessageCount != 8 {
		t.Errorf("%v, %d messages", s.Devices, s.MessageCount)
	}
	for id, want := range map[string]string{"sim000001": "[100ms 200ms]", "sim000002": "[300ms 400ms]", "sim000003": "[50ms]", "sim000004": "[1s]"} {
		if got := fmt.Sprint(s.Intervals.For(id)); got != want {
			t.Errorf("%s pauses %s, want %s", id, got, want)
		}
	}
	if notes := strings.Join(s.Notes, "\n"); !strings.Contains(notes, "Intervals name 3 devices that are not simulated") {
		t.Errorf("notes %s", notes)
	}
	in.Flags["Intervals"] = "10,20"
	if s, err = settings.Read(in); err != nil || fmt.Sprint(s.Intervals.For("sim000001")) != "[10ms 20ms]" {
		t.Errorf("a flag replaces a setting whole: %v, %v", s, err)
	}
}

func TestIntervals(t *testing.T) {
	for text, want := range map[string]string{
		"1": "[1ms]", "5000,": "[5s]", "5000;": "[5s]", "1000,5000": "[1s 5s]", "1000; 5000": "[1s 5s]",
		"aaaa": "", "1,aaaa": "", "0": "", "-1": "", "1,-1": "", ",": "",
	} {
		for _, name := range []string{"Intervals", "Interval"} {
			s, err := read(name + "=" + text)
			switch {
			case want == "" && (fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), "Intervals: ")):
				t.Errorf("%s=%s: %v", name, text, err)
			case want != "" && (err != nil || fmt.Sprint(s.Intervals.For("x")) != want):
				t.Errorf("%s=%s: %v", name, text, err)
			}
		}
	}
	if s, err := read(file(t, `{"Intervals": [10, 20]}`)); err != nil || fmt.Sprint(s.Intervals.For("x")) != "[10ms 20ms]" {
		t.Errorf("a list for everybody: %v", err)
	}
}

func TestBodies(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		want    string
	}{
		"a template of the environment": {[]string{"Template={\"t\": $.Temp, \"e\": \"$.Engine\", \"n\": $.N}", `Variables=[{name: "Temp", values: [1.50, 1.50]}, {name:'Engine', values:[true, true]}, {name: "N", "min": 7, "MAX": 8}]`},
			`{"t": 1.5, "e": "True", "n": 7} {"t": 1.5, "e": "True", "n": 8}`},
		"bytes that stay":            {[]string{"FixPayload=aGVsbG8="}, "hello hello"},
		"so many bytes":              {[]string{"FixPayloadSize=3"}, "\x00\x00\x00 \x00\x00\x00"},
		"blank settings are none":    {[]string{"Template= ", "FixPayload=", "FixPayloadSize=", "Variables=", "Header=", "PayloadDistribution=", "DeviceCount=", "Template=x"}, "x x"},
		"a distribution":             {[]string{"PayloadDistribution=fix(100%, aGk=)", "FixPayload=AAAA"}, "hi hi"},
		"a template of one's own":    {[]string{"PayloadDistribution=Template(100, mine)", "MINE=own $.Counter"}, "own 1 own 2"},
		"the default one, by name":   {[]string{"PayloadDistribution=template(60, default) template(40)", "Template=d"}, "d d"},
		"json in a file":             {[]string{file(t, `{"Payloads": [{"type": "template", "template": {"b": 1.0, "a": {"x": true, "y": [1, "$.Counter"]}}}]}`)}, `{"a:x":"True","y:0":"1","y:1":"1","b":"1.0"} {"a:x":"True","y:0":"1","y:1":"2","b":"1.0"}`},
		"variables of a file":        {[]string{file(t, `{"Variables": [{"name": "V", "values": [1.50, 1.50]}], "Template": "$.V"}`)}, `1.50 1.50`},
		"variables over one another": {[]string{"Variables__0__name=V", "Variables__0__min=5", "Template=$.V"}, `5 6`},
		"a fixed one with no text":   {[]string{file(t, `{"Payloads": [{"type": "fix", "value": " "}]}`)}, "   "},
	} {
		s, err := read(c.environ...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := bodies(t, s, 2); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	certificate := filepath.Join(t.TempDir(), "no.pem")
	for want, environ := range map[string][]string{
		`DeviceCount: "many" is no whole number (the environment)`:                         {"DeviceCount=many"},
		`DeviceCount: 0 is too small: it is at least 1`:                                    {"DeviceCount=0"},
		`DeviceIndex: -1 is too small`:                                                     {"DeviceIndex=-1"},
		`DevicePrefix: a device id cannot hold ' '`:                                        {"DevicePrefix=my device "},
		`DeviceList: a stands in it twice`:                                                 {"DeviceList=a,b;a"},
		`DeviceList: it names no device`:                                                   {"DeviceList=;"},
		`MessageCount: -1 is too small`:                                                    {"MessageCount=-1"},
		`DuplicateEvery: -1 is too small`:                                                  {"DuplicateEveryNEvents=-1"},
		`DuplicateEvery: 1 would send`:                                                     {"DuplicateEvery=1"},
		`Variables: it is no JSON: line 1, column 2: a value was expected`:                 {"Variables=[x]"},
		`Variables: it is no JSON list`:                                                    {"Variables={}"},
		`Variables[0].name: it is missing`:                                                 {"Variables=[{}]"},
		`Variables[0].min: "x" is no number`:                                               {`Variables=[{name: "a", min: "x"}]`},
		`Variables[0].step: "1.5" is no whole number`:                                      {`Variables=[{name: "a", step: 1.5}]`},
		`Variables[0].random: "maybe" is neither true nor false`:                           {`Variables=[{name: "a", random: "maybe"}]`},
		`Variables[1].values: a sequence needs some`:                                       {`Variables=[{name: "a"}, {name: "b", sequence: true}]`},
		`Variables[0].values[1]: a value is a text`:                                        {`Variables=[{name: "a", values: [1, [2]]}]`},
		`Header: once its variables are in, it is no JSON: line 1, column 1`:               {"Header=$.Counter?"},
		`FixPayload: it is not base64`:                                                     {"FixPayload=!"},
		`FixPayloadSize: 999999 is too large: it is at most 262144`:                        {"FixPayloadSize=999999"},
		`PayloadDistribution: the shares add up to 90 percent, not to 100`:                 {"PayloadDistribution=fixSize(10, 12) template(25, default) fix(55, aaaa)"},
		`PayloadDistribution: "fixSize 10" has no ( and )`:                                 {"PayloadDistribution=fixSize 10"},
		`PayloadDistribution: "x" is not a percentage of 1 to 100, in fix(x, aaaa)`:        {"PayloadDistribution=fix(x, aaaa) fix(100, aaaa)"},
		`PayloadDistribution: "" is no size of 0 to 262144 bytes, in fixSize(100)`:         {"PayloadDistribution=fixSize(100) fix(100,aaaa)"},
		`PayloadDistribution: "aaa" is not base64, in fix(..)`:                             {"PayloadDistribution=fix(100, aaa) fix(100,aaaa)"},
		`PayloadDistribution: "random" is unknown`:                                         {"PayloadDistribution=random(100) fix(100,aaaa)"},
		`PayloadDistribution: there is no setting "mine", which template(100, mine)`:       {"PayloadDistribution=template(100, mine) fix(100,aaaa)"},
		`Payloads[0].type: "json" is unknown: it is template or fix`:                       {file(t, `{"Payloads": [{"type": "json"}]}`)},
		`Payloads[0].template: it is missing`:                                              {file(t, `{"Payloads": [{"type": "template", "value": "x"}]}`)},
		`Payloads[0].distribution: "0" is not a percentage`:                                {file(t, `{"Payloads": [{"type": "fix", "value": "x", "distribution": 0}, {"type": "fix", "value": "x"}]}`)},
		`Payloads: the shares of d add up to 40 percent`:                                   {file(t, `{"Payloads": [{"type": "fix", "value": "x", "deviceId": "d", "distribution": 40}]}`)},
		`EventHubConnectionString: this simulator plays the devices of IoT hubs`:           {"EventHubConnectionString=Endpoint=sb://x/;SharedAccessKey=" + secret},
		`KafkaConnectionProperties: this simulator plays`:                                  {"KafkaTopic=t"},
		`CertificateFile: it is missing, and the connection`:                               {"IotHubConnectionString=HostName=h.example.net;DeviceId=press-1;x509=true"},
		`IdScope: devices that register prove themselves by`:                               {"ISTHMUS_SIMULATE_ID_SCOPE=0ne1"},
		`ProvisioningHost: it has no meaning without an id`:                                {"ISTHMUS_SIMULATE_PROVISIONING_HOST=dps.example.net"},
		`ProvisioningHost: "a/b" is no host name`:                                          {"ISTHMUS_SIMULATE_PROVISIONING_HOST=a/b", "ISTHMUS_SIMULATE_ID_SCOPE=0ne1", "ISTHMUS_SIMULATE_GROUP_KEY=c2VjcmV0c2VjcmV0c2VjcmV0"},
		`ProvisioningAddress: "x" is not host:port`:                                        {"ISTHMUS_SIMULATE_PROVISIONING_ADDRESS=x", "ISTHMUS_SIMULATE_ID_SCOPE=0ne1", "ISTHMUS_SIMULATE_GROUP_KEY=c2VjcmV0c2VjcmV0c2VjcmV0"},
		`CreateDevices: the provisioning service makes the`:                                {"ISTHMUS_SIMULATE_CREATE_DEVICES=true", "ISTHMUS_SIMULATE_ID_SCOPE=0ne1", "ISTHMUS_SIMULATE_GROUP_KEY=c2VjcmV0c2VjcmV0c2VjcmV0"},
		`Protocol: "coap" is unknown`:                                                      {"ISTHMUS_SIMULATE_PROTOCOL=coap"},
		`Address: "10.0.0.1" is not host:port (ISTHMUS_SIMULATE_ADDRESS in the env`:        {"ISTHMUS_SIMULATE_ADDRESS=10.0.0.1"},
		`ApiAddress: "h:0" is not host:port`:                                               {"ISTHMUS_SIMULATE_API_ADDRESS=h:0"},
		`SourceAddresses: "lo" is no IP address`:                                           {"ISTHMUS_SIMULATE_SOURCE_ADDRESSES=127.0.0.1,lo"},
		`Ramp: "0" is no number of devices a second above 0`:                               {"ISTHMUS_SIMULATE_RAMP=0"},
		`Storm: every=1 is no time of 100ms or more`:                                       {"ISTHMUS_SIMULATE_STORM=every=1,share=0.5"},
		`Storm: share=2 is no number above 0 and up to 1`:                                  {"ISTHMUS_SIMULATE_STORM=every=1s,share=2"},
		`Storm: it says every or share only`:                                               {"ISTHMUS_SIMULATE_STORM=every=1s"},
		`Storm: "often" is unknown`:                                                        {"ISTHMUS_SIMULATE_STORM=often"},
		`Duration: "long" is no time: write 90s, 15m or 2h`:                                {"ISTHMUS_SIMULATE_DURATION=long"},
		`KeepAlive: 1s is out of range: it is 5s to 19m37s`:                                {"ISTHMUS_SIMULATE_KEEP_ALIVE=1s"},
		`Verify: "perhaps" is neither true nor false`:                                      {"ISTHMUS_SIMULATE_VERIFY=perhaps"},
		`SignIn: "magic" is unknown`:                                                       {"ISTHMUS_SIMULATE_SIGN_IN=magic"},
		`GroupKey: it is missing`:                                                          {"ISTHMUS_SIMULATE_SIGN_IN=group"},
		`GroupKey: it is not base64 of at least 16 bytes`:                                  {"ISTHMUS_SIMULATE_GROUP_KEY=" + secret},
		`GroupKeyFile: the file cannot be read`:                                            {"ISTHMUS_SIMULATE_GROUP_KEY_FILE=" + certificate},
		`CertificateFile: it is missing`:                                                   {"ISTHMUS_SIMULATE_SIGN_IN=certificate"},
		`Ca: the file cannot be read`:                                                      {"ISTHMUS_SIMULATE_CA=" + certificate},
		`HostName: "https://hub" is no host name`:                                          {"ISTHMUS_SIMULATE_HOST_NAME=https://hub"},
		`IotHubConnectionString: its SharedAccessKey is not base64 (the environment)`:      {"IotHubConnectionString=HostName=h;SharedAccessKeyName=p;SharedAccessKey=" + secret + "!"},
		`IotHubConnectionString: this is no connection string of an IoT hub`:               {"IotHubConnectionString=" + secret},
		`IotHubConnectionString: it is missing, so nobody knows`:                           {"IotHubConnectionString=", "ISTHMUS_SIMULATE_GROUP_KEY=c2VjcmV0c2VjcmV0c2VjcmV0"},
		`IotHubConnectionString: the connection string of a policy is needed to sign in`:   {"IotHubConnectionString="},
		`DeviceCount: the connection string is that of one device, d`:                      {"IotHubConnectionString=HostName=h;DeviceId=d;SharedAccessKey=" + secret, "DeviceCount=2"},
		`Verify: reading events back needs the connection string of a policy`:              {"IotHubConnectionString=HostName=h;DeviceId=d;SharedAccessKey=" + secret, "ISTHMUS_SIMULATE_VERIFY=1"},
		`File: it cannot be read`:                                                          {"File=" + certificate},
		`is no JSON: line 1, column 2: a name was expected`:                                {file(t, "{:")},
		`holds no JSON object`:                                                             {file(t, "[]")},
		"2 settings are wrong\nDeviceCount: \"x\" is no whole number (the environment)\nM": {"DeviceCount=x", "MessageCount=y"},
	} {
		_, err := read(environ...)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), want) {
			t.Errorf("%v:\n got %v\nwant %s", environ, err, want)
		}
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("a secret is in the error: %v", err)
		}
	}
}

func TestSignIn(t *testing.T) {
	key := "c2VjcmV0c2VjcmV0c2VjcmV0"
	keyFile := filepath.Join(t.TempDir(), "group.key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	connection := filepath.Join(t.TempDir(), "hub.connection")
	if err := os.WriteFile(connection, []byte("HostName=other.example.net;SharedAccessKeyName=service;SharedAccessKey="+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environ []string
		want    settings.SignIn
		hub     string
	}{
		"a policy":               {nil, settings.Policy, "hub.example.net"},
		"a policy, from ours":    {[]string{"IotHubConnectionString=", "ISTHMUS_HUB_CONNECTION_STRING=HostName=x.example.net;SharedAccessKeyName=p;SharedAccessKey=" + key}, settings.Policy, "x.example.net"},
		"a policy, in a file":    {[]string{"IotHubConnectionString=", "ISTHMUS_SIMULATE_CONNECTION_FILE=" + connection}, settings.Policy, "other.example.net"},
		"each device's key":      {[]string{"ISTHMUS_SIMULATE_SIGN_IN=device-keys", "ISTHMUS_SIMULATE_CREATE_DEVICES=true"}, settings.DeviceKeys, "hub.example.net"},
		"a group's key":          {[]string{"IotHubConnectionString=", "ISTHMUS_SIMULATE_HOST_NAME=g.example.net", "ISTHMUS_SIMULATE_GROUP_KEY_FILE=" + keyFile}, settings.Group, "g.example.net"},
		"certificates":           {[]string{"ISTHMUS_SIMULATE_CERTIFICATE_FILE=/etc/{device}.pem"}, settings.Certificate, "hub.example.net"},
		"one device's string":    {[]string{"IotHubConnectionString=HostName=h.example.net;DeviceId=press-1;SharedAccessKey=" + key}, settings.OwnKey, "h.example.net"},
		"its certificate":        {[]string{"IotHubConnectionString=HostName=h.example.net;DeviceId=press-1;x509=true", "ISTHMUS_SIMULATE_CERTIFICATE_FILE=/etc/p.pem"}, settings.Certificate, "h.example.net"},
		"a group that registers": {[]string{"IotHubConnectionString=", "ISTHMUS_SIMULATE_ID_SCOPE=0ne1", "ISTHMUS_SIMULATE_GROUP_KEY=" + key}, settings.Group, ""},
		"names of others' are":   {[]string{"HOSTNAME=pod-1", "Address=x", "VERIFY=x", "Ramp=x", "CA=x"}, settings.Policy, "hub.example.net"},
	} {
		s, err := read(c.environ...)
		if err != nil || s.SignIn != c.want || s.Hub != c.hub {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if (name == "one device's string" || name == "its certificate") && strings.Join(s.Devices, "") != "press-1" {
			t.Errorf("%s: %v", name, s.Devices)
		}
	}
}

func TestNotesSayWhatHasNoEffect(t *testing.T) {
	s, err := read("PartitionKey=$.DeviceId", "DeviceList=a,b", "DeviceCount=7", "MessageCount=0", file(t, `{"Templat": "x", "Variables": [{"name": "a", "comment": "mine"}], "PayloadDistribution": "template(100, mine)", "mine": "x"}`))
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(s.Notes, "\n")
	for _, want := range []string{"PartitionKey has no effect", "DeviceCount has no effect beside DeviceList", "MessageCount is 0", `"Templat" in`, "Variables[0].comment is no property"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "\"mine\"") {
		t.Errorf("a named template is used: %s", notes)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("[{name: 'a', sequence: true, values: ['$.b', 1]}]", "fixSize(10, 12) template(90)", `{"a": "$.a"}`, "1,2;3", `{"Payloads": [{"type": "fix", "value": {"a": 1}}], "Intervals": {"a": [1]}}`)
	f.Fuzz(func(t *testing.T, variables, distribution, header, intervals, text string) {
		s, err := read("Variables="+variables, "PayloadDistribution="+distribution, "Header="+header, "Intervals="+intervals, "Storm="+intervals, file(t, text))
		switch {
		case err != nil && fault.KindOf(err) != fault.Invalid:
			t.Fatal(err)
		case err == nil && (len(s.Devices) == 0 || len(s.Intervals.All) == 0 || s.Recipe == nil):
			t.Fatalf("%+v", s)
		}
	})
}

func TestProtocols(t *testing.T) {
	for text, want := range map[string]settings.Protocol{
		"": settings.MQTT, "MQTT": settings.MQTT, "Mqtt_Tcp_Only": settings.MQTT, "mqtt-ws": settings.MQTTWebSocket, "mqtt_ws": settings.MQTTWebSocket,
		"Mqtt_WebSocket_Only": settings.MQTTWebSocket, "amqp": settings.AMQP, "Amqp_Tcp_Only": settings.AMQP, "amqp-ws": settings.AMQPWebSocket,
		"Amqp_WebSocket_Only": settings.AMQPWebSocket, "https": settings.HTTPS, " http ": settings.HTTPS, "Http1": settings.HTTPS,
	} {
		if s, err := read("ISTHMUS_SIMULATE_PROTOCOL=" + text); err != nil || s.Protocol != want || len(s.Notes) != 0 {
			t.Errorf("%q became %q: %v", text, s.Protocol, err)
		}
	}
	s, err := read("ISTHMUS_SIMULATE_PROTOCOL=https", "ISTHMUS_SIMULATE_KEEP_ALIVE=1m", `Header={"line-7": "x", "$.Counter": "y"}`)
	if err != nil || len(s.Notes) != 1 || !strings.HasPrefix(s.Notes[0], "KeepAlive has no effect over https") {
		t.Errorf("%v, %v", s.Notes, err)
	}
	if _, err := read("ISTHMUS_SIMULATE_PROTOCOL=https", `Header={"größe": "x"}`); err == nil || !strings.HasPrefix(fault.Message(err), `Header: "größe" is no name of a header`) {
		t.Errorf("%v", err)
	}
	if _, err := read("ISTHMUS_SIMULATE_PROTOCOL=amqp", `Header={"größe": "x"}`); err != nil {
		t.Errorf("%v", err)
	}
}
