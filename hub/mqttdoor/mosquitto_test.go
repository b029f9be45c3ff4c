package mqttdoor_test

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// mosquitto runs mosquitto_pub or mosquitto_sub as a device, and returns what it wrote.
func mosquitto(t *testing.T, w *hubtest.World, program, identity string, args ...string) (string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(w.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("make deps installs it: %v", err)
	}
	// The name in the certificate is none that this machine can look up.
	all := append([]string{"-h", host, "-p", port, "--cafile", w.CAFile, "--insecure", "-V", "mqttv311", "-i", identity, "-u", hubtest.Contoso + "/" + identity + suffix}, args...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, all...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	if err != nil {
		t.Logf("%s %s: %v: %s", program, identity, err, problems.String())
	}
	return out.String(), err
}

// Mosquitto's own clients publish and subscribe, with a token and with a certificate.
func TestMosquittoClients(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "keyed")
	own := w.Certificate("certified", false)
	w.ThumbprintDevice(hubtest.Contoso, "certified", own)
	certificate, key := w.PEM(own)
	root := w.Certificate("Plant", true)
	w.Trust(hubtest.Contoso, "plant", root)
	w.AuthorityDevice(hubtest.Contoso, "signed")
	chain, chainKey := w.PEM(w.Certificate("signed", false, root))
	ways := map[string][]string{
		"keyed": {"-P", w.Token(hubtest.Contoso, d)}, "certified": {"--cert", certificate, "--key", key}, "signed": {"--cert", chain, "--key", chainKey},
	}
	for id, proof := range ways {
		t.Run(id, func(t *testing.T) {
			for _, qos := range []string{"0", "1"} {
				if _, err := mosquitto(t, w, "mosquitto_pub", id, append([]string{"-q", qos, "-t", "devices/" + id + "/messages/events/q=" + qos, "-m", "from " + id}, proof...)...); err != nil {
					t.Error(err)
				}
			}
			n := hub.Name{Device: id}
			command(t, w, n, hub.Command{MessageID: "7", Body: []byte("hello " + id), Properties: map[string]string{"k": "v"}})
			out, err := mosquitto(t, w, "mosquitto_sub", id, append([]string{"-q", "1", "-c", "-C", "1", "-F", "%q %t %p", "-t", "devices/" + id + "/messages/devicebound/#"}, proof...)...)
			if err != nil || !strings.HasPrefix(out, "1 devices/"+id+"/messages/devicebound/%24.to=") || !strings.HasSuffix(out, "&k=v hello "+id+"\n") {
				t.Errorf("it heard %q, %v", out, err)
			}
			depth(t, w, n, 0)
			if out, err := mosquitto(t, w, "mosquitto_pub", id, "-t", "devices/"+id+"/messages/events/", "-m", "x", "-P", "SharedAccessSignature sr=x&sig=eA%3D%3D&se=99999999999"); err == nil {
				t.Errorf("a token nobody signed passes: %s", out)
			}
		})
	}
	count := map[string]int{}
	for _, e := range w.Events(hubtest.Contoso, 6) {
		count[string(e.Body)]++
	}
	if count["from keyed"] != 2 || count["from certified"] != 2 || count["from signed"] != 2 {
		t.Errorf("events %v", count)
	}
}
