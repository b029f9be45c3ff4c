package settings

import (
	"slices"
	"strings"
)

// Definition describes one setting: for flags, for help, and for the documentation.
type Definition struct {
	Name    string // in a file, and in errors
	Env     string // in the environment; empty for none
	Flag    string // empty for none
	Value   string // what a flag's value is called; empty for a switch
	Default string // as a person would write it
	Words   string
	Alias   []string // other names in file and environment
}

const envPrefix = "ISTHMUS_SIMULATE_"

// Table lists every setting; those of the telemetry simulator come first.
func Table() []Definition {
	ours := func(name, env, flag, value, preset, words string) Definition {
		return Definition{Name: name, Env: envPrefix + env, Flag: flag, Value: value, Default: preset, Words: words}
	}
	theirs := func(name, flag, value, preset, words string, alias ...string) Definition {
		return Definition{Name: name, Env: name, Flag: flag, Value: value, Default: preset, Words: words, Alias: alias}
	}
	return []Definition{
		theirs("IotHubConnectionString", "", "", "", "connection string of a policy of the hub, or of one device; ISTHMUS_HUB_CONNECTION_STRING counts as well"),
		theirs("File", "file", "FILE", "", "JSON with any of these settings; it beats the environment"),
		theirs("DevicePrefix", "device-prefix", "TEXT", "sim", "devices are called by this and six digits"),
		theirs("DeviceIndex", "device-index", "N", "1", "number of the first device"),
		theirs("DeviceCount", "device-count", "N", "1", "how many devices"),
		theirs("DeviceList", "device-list", "ID,ID", "", "these devices, separated by , or ; instead of prefix, index and count"),
		theirs("MessageCount", "message-count", "N", "100", "messages each device sends; 0 for no end"),
		theirs("Intervals", "intervals", "MS,MS", "1000", "milliseconds between messages; several take turns; in a file also by device", "Interval"),
		theirs("Template", "template", "TEXT", defaultTemplate, "body of a message, with variables as $.Name"),
		theirs("Variables", "variables", "JSON", "a counter called Counter", "list of variables: name and random, randomDouble, min, max, step, values, sequence, customLengthString"),
		theirs("PayloadDistribution", "payload-distribution", "TEXT", "", "bodies by percent: fixSize(10, 12) template(25, default) fix(65, BASE64)"),
		{Name: "Payloads", Words: "in a file: list of bodies with type (template, fix), template or value, deviceId, distribution"},
		theirs("FixPayload", "fix-payload", "BASE64", "", "one body that never changes"),
		theirs("FixPayloadSize", "fix-payload-size", "BYTES", "0", "one body of so many zeros"),
		theirs("Header", "header", "JSON", "", "properties beside the body, with variables: {\"line\": \"$.Line\"}"),
		theirs("PartitionKey", "partition-key", "TEXT", "", "accepted without effect: a hub chooses the partition by the device"),
		theirs("DuplicateEvery", "duplicate-every", "N", "0", "send a message again with probability 1/N; 0 for never", "DuplicateEveryNEvents"),
		{Name: "EventHubConnectionString", Env: "EventHubConnectionString", Words: "refused: devices are simulated against hubs"},
		{Name: "KafkaConnectionProperties", Env: "KafkaConnectionProperties", Words: "refused, as KafkaTopic is", Alias: []string{"KafkaTopic"}},

		ours("ConnectionFile", "CONNECTION_FILE", "connection-file", "FILE", "", "file with what IotHubConnectionString would hold"),
		ours("HostName", "HOST_NAME", "host-name", "NAME", "", "the hub's name, where no connection string says it"),
		ours("SignIn", "SIGN_IN", "sign-in", "HOW", "by what is given", "policy (its key signs for every device), device-keys (from the registry), group (DPS group key), certificate"),
		ours("GroupKey", "GROUP_KEY", "", "", "", "DPS group key, base64; each device's key is derived from it"),
		ours("GroupKeyFile", "GROUP_KEY_FILE", "group-key-file", "FILE", "", "file with the group key"),
		ours("CertificateFile", "CERTIFICATE_FILE", "certificate-file", "FILE", "", "PEM certificate of a device; {device} in the name stands for its id"),
		ours("CertificateKeyFile", "CERTIFICATE_KEY_FILE", "certificate-key-file", "FILE", "the certificate's file", "PEM key of the certificate, named alike"),
		ours("IdScope", "ID_SCOPE", "id-scope", "TEXT", "", "id scope of a provisioning service, which then says which hub is each device's; with a group key or certificates"),
		ours("ProvisioningHost", "PROVISIONING_HOST", "provisioning-host", "NAME", "global.azure-devices-provisioning.net", "the provisioning service's name"),
		ours("ProvisioningAddress", "PROVISIONING_ADDRESS", "provisioning-address", "HOST:PORT", "its name, port 443", "where to reach the provisioning service"),
		ours("CreateDevices", "CREATE_DEVICES", "create-devices", "", "false", "create the devices the registry does not know"),
		ours("Protocol", "PROTOCOL", "protocol", "NAME", "mqtt", "mqtt (port 8883), mqtt-ws (over WebSocket, 443), amqp (5671), amqp-ws (443) or https (443)"),
		ours("Address", "ADDRESS", "address", "HOST:PORT", "the hub's name", "where to connect, the hub's name kept for SNI, certificate and token"),
		ours("ApiAddress", "API_ADDRESS", "api-address", "HOST:PORT", "the hub's name, port 443", "where to reach the hub's registry and events"),
		ours("Ca", "CA", "ca", "FILE", "this machine's", "PEM authorities to trust"),
		ours("SourceAddresses", "SOURCE_ADDRESSES", "source-addresses", "IP,IP", "the system's choice", "local addresses to connect from, when the ports of one run out"),
		ours("KeepAlive", "KEEP_ALIVE", "keep-alive", "TIME", "4m", "longest silence of a device; not over https"),
		ours("TokenLife", "TOKEN_LIFE", "token-life", "TIME", "1h", "how long a SAS token is good; before it ends, a device connects again (mqtt) or gives the hub a new one"),
		ours("Connecting", "CONNECTING", "connecting", "N", "256", "most devices that connect at the same time"),
		ours("GiveUp", "GIVE_UP", "give-up", "TIME", "2m", "a device that cannot connect for so long gives up; 0 for never"),
		ours("Ramp", "RAMP", "ramp", "N", "no limit", "devices started a second"),
		ours("Storm", "STORM", "storm", "SPEC", "", "reconnect storms: every=30s,share=0.5 cuts half of the connections each 30 seconds"),
		ours("Duration", "DURATION", "duration", "TIME", "no limit", "end after this time"),
		ours("Verify", "VERIFY", "verify", "", "false", "read the events back and prove that nothing was lost, duplicated or reordered"),
	}
}

// find returns the definition of a name in a file or, for those of the telemetry simulator, in the environment.
func find(table []Definition, name string) (Definition, bool) {
	for _, d := range table {
		if strings.EqualFold(d.Name, name) || slices.ContainsFunc(d.Alias, func(a string) bool { return strings.EqualFold(a, name) }) {
			return d, true
		}
	}
	return Definition{}, false
}
