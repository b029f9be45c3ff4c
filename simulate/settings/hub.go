package settings

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// hub reads which hub, and by which keys.
func (r *reader) hub() {
	for _, name := range []string{"EventHubConnectionString", "KafkaConnectionProperties"} {
		if n := r.get(name); strings.TrimSpace(n.text) != "" || len(n.children) > 0 {
			r.refuse(name, n.origin(), "this simulator plays the devices of IoT hubs and sends to nothing else").advise("give IotHubConnectionString instead")
		}
	}
	n := r.connection()
	if strings.TrimSpace(n.text) != "" {
		cs, err := sas.ParseConnectionString(n.text)
		if err != nil {
			r.refuse("IotHubConnectionString", n.from, "%s", fault.Message(err)).advise(fault.Next(err))
		}
		r.out.Connection = cs
		r.out.Hub = cs.HostName
		if _, err := base64.StdEncoding.DecodeString(cs.Key); err != nil {
			r.refuse("IotHubConnectionString", n.from, "its SharedAccessKey is not base64")
		}
	}
	host := r.get("HostName")
	if name := strings.TrimSpace(host.text); name != "" {
		if strings.ContainsAny(name, "/:@ \t\r\n?#") {
			r.refuse("HostName", host.from, "%.80q is no host name", name)
		}
		r.out.Hub = name
	}
	r.out.APIAddress = r.address("ApiAddress")
	r.provisioning()
	r.roots()
	r.groupKey()
	if r.in.Part == DevicesOnly {
		if len(r.problems) == 0 && r.out.Connection.Policy == "" {
			r.refuse("IotHubConnectionString", "", "the connection string of a policy that may change the registry is needed").
				advise("print one where the hub runs: isthmus hub connection-string --policy registryReadWrite")
		}
		return
	}
	r.signIn()
	if r.out.Hub == "" && r.out.IDScope == "" && len(r.problems) == 0 {
		r.refuse("IotHubConnectionString", "", "it is missing, so nobody knows which hub is meant").
			advise("set it, or name the hub with HostName and give a group key or certificates")
	}
}

// provisioning reads which provisioning service says what hub is a device's own.
func (r *reader) provisioning() {
	r.out.IDScope = strings.TrimSpace(r.get("IdScope").text)
	host := r.get("ProvisioningHost")
	if r.out.ProvisioningHost = strings.TrimSpace(host.text); strings.ContainsAny(r.out.ProvisioningHost, "/:@ \t\r\n?#") {
		r.refuse("ProvisioningHost", host.from, "%.80q is no host name", r.out.ProvisioningHost)
	}
	r.out.ProvisioningAddress = r.address("ProvisioningAddress")
	for _, name := range []string{"ProvisioningHost", "ProvisioningAddress"} {
		if n := r.get(name); n.text != "" && r.out.IDScope == "" {
			r.refuse(name, n.from, "it has no meaning without an id scope").advise("give IdScope: isthmus dps id-scope prints it")
		}
	}
}

// connection finds the connection string: the setting, its file, or what other commands take.
func (r *reader) connection() *node {
	n := r.get("IotHubConnectionString")
	file := r.get("ConnectionFile")
	flag := r.in.Flags["ConnectionFile"] != ""
	switch {
	case (strings.TrimSpace(n.text) == "" || flag) && file.text != "":
		return r.contents("ConnectionFile", file)
	case strings.TrimSpace(n.text) == "":
		if other := r.tree.at("ISTHMUS_HUB_CONNECTION_STRING"); other.set {
			return &node{text: other.text, set: true, from: "ISTHMUS_HUB_CONNECTION_STRING in the environment"}
		}
	}
	return n
}

// contents reads the file a setting names.
func (r *reader) contents(name string, n *node) *node {
	b, err := os.ReadFile(n.text)
	if err != nil {
		r.refuse(name, n.from, "the file cannot be read: %v", err)
	}
	return &node{text: strings.TrimSpace(string(b)), set: true, from: "file " + n.text}
}

func (r *reader) groupKey() {
	key := r.get("GroupKey")
	if file := r.get("GroupKeyFile"); file.text != "" {
		key = r.contents("GroupKeyFile", file)
	}
	r.out.GroupKey = strings.TrimSpace(key.text)
	if b, err := base64.StdEncoding.DecodeString(r.out.GroupKey); r.out.GroupKey != "" && (err != nil || len(b) < 16) {
		r.refuse("GroupKey", key.from, "it is not base64 of at least 16 bytes")
	}
}

func (r *reader) signIn() {
	out := r.out
	out.CertificateFile, out.CertificateKeyFile = r.text("CertificateFile", ""), r.text("CertificateKeyFile", r.text("CertificateFile", ""))

	n := r.get("SignIn")
	out.SignIn = SignIn(strings.ToLower(strings.TrimSpace(n.text)))
	if out.SignIn == "" {
		switch {
		case out.GroupKey != "":
			out.SignIn = Group
		case out.CertificateFile != "":
			out.SignIn = Certificate
		default:
			out.SignIn = Policy
		}
	}
	policy := out.Connection.Policy != ""
	switch out.SignIn {
	case Policy, DeviceKeys:
		if out.Connection.X509 {
			r.refuse("CertificateFile", "", "it is missing, and the connection string is that of a device with a certificate")
		} else if out.Connection.DeviceID != "" && n.text == "" {
			out.SignIn = OwnKey
		} else if !policy && len(r.problems) == 0 {
			r.refuse("IotHubConnectionString", "", "the connection string of a policy is needed to sign in by %s", out.SignIn).
				advise("put it into the environment (IotHubConnectionString) or into a file (--connection-file), or sign in with a group key (GroupKey) or certificates (CertificateFile)")
		}
	case Group:
		if out.GroupKey == "" {
			r.refuse("GroupKey", "", "it is missing")
		}
	case Certificate:
		if out.CertificateFile == "" {
			r.refuse("CertificateFile", "", "it is missing")
		}
	default:
		r.refuse("SignIn", n.from, "%.40q is unknown: it is policy, device-keys, group or certificate", n.text)
	}
	if out.IDScope != "" && out.SignIn != Group && out.SignIn != Certificate && len(r.problems) == 0 {
		r.refuse("IdScope", r.get("IdScope").origin(), "devices that register prove themselves by a group's key or by certificates").
			advise("give GroupKey (--group-key-file) or CertificateFile (--certificate-file)")
	}
	switch out.CreateDevices = r.yes("CreateDevices"); {
	case out.CreateDevices && out.IDScope != "":
		r.refuse("CreateDevices", r.get("CreateDevices").from, "the provisioning service makes the devices that register with it")
	case out.CreateDevices && !policy:
		r.refuse("CreateDevices", r.get("CreateDevices").from, "the connection string of a policy is needed for it")
	}
}

func (r *reader) roots() {
	n := r.get("Ca")
	if n.text == "" {
		return
	}
	pem := r.contents("Ca", n)
	r.out.Roots = x509.NewCertPool()
	if !r.out.Roots.AppendCertsFromPEM([]byte(pem.text)) && pem.text != "" {
		r.refuse("Ca", n.from, "%s holds no PEM certificate", n.text)
	}
}

// isOne tells whether the connection string says which device is simulated.
func (r *reader) isOne() bool { return r.out.SignIn == OwnKey || r.out.Connection.X509 }

// devices reads who is simulated.
func (r *reader) devices() {
	prefix := "sim"
	if n := r.get("DevicePrefix"); n.set {
		prefix = n.text
	}
	list := r.get("DeviceList")
	if strings.TrimSpace(list.text) != "" || len(list.children) > 0 {
		r.deviceList(list)
		return
	}
	index := r.number("DeviceIndex", 1, 0, 1<<31-1)
	count := r.number("DeviceCount", 1, 1, MaxDevices)
	if r.isOne() {
		id := r.out.Connection.DeviceID
		if count > 1 {
			r.refuse("DeviceCount", r.get("DeviceCount").from, "the connection string is that of one device, %s", id)
		}
		r.out.Devices = []string{id}
		return
	}
	if what := wrongID(prefix + "000000"); what != "" {
		r.refuse("DevicePrefix", r.get("DevicePrefix").from, "%s", what)
		return
	}
	r.out.Devices = make([]string, count)
	for i := range r.out.Devices {
		r.out.Devices[i] = fmt.Sprintf("%s%06d", prefix, index+i)
	}
}

func (r *reader) deviceList(list *node) {
	ids := strings.FieldsFunc(list.text, func(c rune) bool { return c == ',' || c == ';' })
	for _, c := range list.sorted() { // an array in a file
		ids = append(ids, c.text)
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if id = strings.TrimSpace(id); id == "" {
			continue
		}
		if what := wrongID(id); what != "" {
			r.refuse("DeviceList", list.origin(), "%s", what)
			return
		}
		if seen[id] {
			r.refuse("DeviceList", list.origin(), "%s stands in it twice", id)
			return
		}
		seen[id] = true
		r.out.Devices = append(r.out.Devices, id)
	}
	switch {
	case len(r.out.Devices) == 0:
		r.refuse("DeviceList", list.origin(), "it names no device")
	case len(r.out.Devices) > MaxDevices:
		r.refuse("DeviceList", list.origin(), "it names %d devices, at most %d are simulated", len(r.out.Devices), MaxDevices)
	case r.isOne() && (len(r.out.Devices) > 1 || r.out.Devices[0] != r.out.Connection.DeviceID):
		r.refuse("DeviceList", list.origin(), "the connection string is that of one device, %s", r.out.Connection.DeviceID)
	}
	for _, name := range []string{"DevicePrefix", "DeviceIndex", "DeviceCount"} {
		if r.get(name).set {
			r.note("%s has no effect beside DeviceList", name)
		}
	}
}

// wrongID says why a text is no device id (IoT Hub: identity registry, device identity properties).
func wrongID(id string) string {
	if len(id) > 128 {
		return fmt.Sprintf("the device id %.40s.. would have %d characters, at most 128 are allowed", id, len(id))
	}
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-.+%_#*?!(),:=@$';", c) {
			return fmt.Sprintf("a device id cannot hold %q", c)
		}
	}
	return ""
}
