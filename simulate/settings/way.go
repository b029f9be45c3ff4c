package settings

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// protocols are those devices may speak, by all their names without dashes, which include .NET's (TransportType.Amqp_Tcp_Only).
var protocols = map[string]Protocol{
	"": MQTT, "mqtt": MQTT, "mqtttcponly": MQTT, "mqttws": MQTTWebSocket, "mqttwebsocketonly": MQTTWebSocket,
	"amqp": AMQP, "amqptcponly": AMQP, "amqpws": AMQPWebSocket, "amqpwebsocketonly": AMQPWebSocket,
	"https": HTTPS, "http": HTTPS, "http1": HTTPS,
}

// way reads how devices reach the hub.
func (r *reader) way() {
	out := r.out
	n := r.get("Protocol")
	protocol, ok := protocols[strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(strings.TrimSpace(n.text)))]
	if out.Protocol = protocol; !ok {
		r.refuse("Protocol", n.from, "%.40q is unknown: it is mqtt, mqtt-ws, amqp, amqp-ws or https", n.text)
	}
	out.Address = r.address("Address")
	out.KeepAlive = r.duration("KeepAlive", 4*time.Minute, 5*time.Second, 1177*time.Second)
	out.TokenLife = r.duration("TokenLife", time.Hour, time.Minute, 365*24*time.Hour)
	out.Connecting = r.number("Connecting", 256, 1, 10_000)
	out.GiveUp = r.duration("GiveUp", 2*time.Minute, 0, 30*24*time.Hour)
	s := r.get("SourceAddresses")
	texts := strings.FieldsFunc(s.text, func(c rune) bool { return c == ',' || c == ';' || c == ' ' })
	for _, c := range s.sorted() {
		texts = append(texts, c.text)
	}
	for _, text := range texts {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			r.refuse("SourceAddresses", s.origin(), "%.60q is no IP address", text)
			return
		}
		out.Sources = append(out.Sources, ip)
	}
}

// address reads host:port, empty when it is not set.
func (r *reader) address(name string) string {
	n := r.get(name)
	text := strings.TrimSpace(n.text)
	if text == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(text)
	p, perr := strconv.Atoi(port)
	if err != nil || perr != nil || host == "" || p < 1 || p > 65535 {
		r.refuse(name, n.from, "%.80q is not host:port", text)
	}
	return text
}

// course reads when things happen.
func (r *reader) course() {
	out := r.out
	out.Duration = r.duration("Duration", 0, 0, 365*24*time.Hour)
	out.Verify = r.yes("Verify")
	if n := r.get("Ramp"); strings.TrimSpace(n.text) != "" {
		f, err := strconv.ParseFloat(strings.TrimSpace(n.text), 64)
		if err != nil || !(f > 0) || f > 1e6 {
			r.refuse("Ramp", n.from, "%.40q is no number of devices a second above 0", n.text)
		}
		out.Ramp = f
	}
	n := r.get("Storm")
	if strings.TrimSpace(n.text) == "" {
		return
	}
	bad := func(format string, args ...any) {
		r.refuse("Storm", n.from, format, args...).advise("it reads every=30s,share=0.5")
	}
	for item := range strings.SplitSeq(n.text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		switch key {
		case "every":
			d, err := time.ParseDuration(value)
			if out.Storm.Every = d; err != nil || d < 100*time.Millisecond {
				bad("every=%.40s is no time of 100ms or more", value)
				return
			}
		case "share":
			f, err := strconv.ParseFloat(value, 64)
			if out.Storm.Share = f; err != nil || !(f > 0 && f <= 1) {
				bad("share=%.40s is no number above 0 and up to 1", value)
				return
			}
		default:
			bad("%.40q is unknown", key)
			return
		}
	}
	if out.Storm.Every == 0 || out.Storm.Share == 0 {
		bad("it says every or share only")
	}
}

// together checks what depends on more than one setting.
func (r *reader) together() {
	out := r.out
	if out.Verify && out.Connection.Policy == "" {
		r.refuse("Verify", r.get("Verify").from, "reading events back needs the connection string of a policy").
			advise("print one where the hub runs: isthmus hub connection-string --policy service")
	}
	if out.SignIn == Certificate && len(out.Devices) > 1 && !strings.Contains(out.CertificateFile, "{device}") {
		r.note("CertificateFile names one certificate for %d devices; {device} in it would stand for each one's id", len(out.Devices))
	}
	if out.Protocol == HTTPS {
		if n := r.get("KeepAlive"); n.set {
			r.note("KeepAlive has no effect over https: a connection is kept for as long as the hub keeps it")
		}
		r.headers()
	}
	if out.MessageCount == 0 && out.Duration == 0 {
		r.note("MessageCount is 0: devices send until this is interrupted")
	}
}

// headers refuses properties that cannot be headers, as they are over HTTPS.
func (r *reader) headers() {
	if r.out.Recipe == nil || r.out.Recipe.Header == nil || len(r.out.Devices) == 0 {
		return
	}
	bag, _, err := r.out.Recipe.For(r.out.Devices[0]).Next(time.Unix(0, 0), rand.New(rand.NewPCG(1, 1)), nil, nil) //nolint:gosec // values to look at, not secrets
	if err != nil {
		return // told already
	}
	for item := range strings.SplitSeq(string(bag), "&") {
		name, _, _ := strings.Cut(item, "=")
		name, err := url.PathUnescape(name)
		if err != nil || !isHeaderName(name) {
			r.refuse("Header", r.get("Header").from, "%.60q is no name of a header, which properties are over https", name).advise("rename it, or use mqtt or amqp")
		}
	}
}

// isHeaderName tells whether a header may be called so (RFC 9110, 5.6.2).
func isHeaderName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	}) < 0
}
