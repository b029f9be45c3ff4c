package conformance

import (
	"crypto/sha1" //nolint:gosec // thumbprints of IoT Hub may be SHA-1
	"encoding/hex"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestCertificates(t *testing.T) {
	w := start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	authority, self := provisioningtest.Sign(t, nil, "plant 7", provisioningtest.CA), provisioningtest.Sign(t, nil, "anything")
	leaf, other := provisioningtest.Sign(t, authority, "by-authority"), provisioningtest.Sign(t, authority, "other")
	sum := sha1.Sum(self.Certificate.Raw) //nolint:gosec // see above
	for _, d := range []hubstore.Device{
		{ID: "by-thumbprint", AuthType: hub.AuthSelfSigned, PrimaryThumbprint: hex.EncodeToString(sum[:])}, {ID: "by-authority", AuthType: hub.AuthCertificateAuthority},
	} {
		if _, err := h.CreateDevice(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.AddAuthority(t.Context(), "plant-7", authority.PEM(), true); err != nil {
		t.Fatal(err)
	}
	for _, over := range []string{"http", "mqtt"} {
		try := func(c *provisioningtest.Certified, device, wrong string) {
			t.Helper()
			play(t, w, "certificate.js", "send", "CERT="+c.PEM(), "KEY="+c.KeyPEM(t), "OVER="+over, "DEVICE=HostName="+hubtest.Contoso+";DeviceId="+device+";x509=true").step("send", wrong)
		}
		t.Run("C03 by thumbprint over "+over, func(t *testing.T) {
			covers(t, "C03", "azure-iot-device-"+over)
			try(self, "by-thumbprint", "")
			try(other, "by-thumbprint", "UnauthorizedError")
		})
		t.Run("C04 by authority over "+over, func(t *testing.T) {
			covers(t, "C04", "azure-iot-device-"+over)
			try(leaf, "by-authority", "")
			try(other, "by-authority", "UnauthorizedError")
		})
	}
	for _, e := range w.Events(hubtest.Contoso, 4) {
		if e.System["iothub-connection-auth-method"] != `{"scope":"device","type":"x509","issuer":"iothub"}` {
			t.Errorf("%v", e.System)
		}
	}
}
