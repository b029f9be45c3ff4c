package conformance

import (
	"crypto/sha1"
	"encoding/hex"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestCertificates(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	authority, self := provisioningtest.Sign(t, nil, "plant 7", provisioningtest.CA), provisioningtest.Sign(t, nil, "anything")
	line, stranger := provisioningtest.Sign(t, authority, "line 3", provisioningtest.CA), provisioningtest.Sign(t, nil, "plant 8", provisioningtest.CA)
	leaf, other := provisioningtest.Sign(t, authority, "by-authority"), provisioningtest.Sign(t, authority, "other")
	chained, forged := provisioningtest.Sign(t, line, "by-authority"), provisioningtest.Sign(t, stranger, "by-authority")
	sum := sha1.Sum(self.Certificate.Raw) // thumbprints may be SHA-1
	for _, d := range []hubstore.Device{
		{ID: "by-thumbprint", AuthType: hub.AuthSelfSigned, PrimaryThumbprint: hex.EncodeToString(sum[:])},
		{ID: "by-sha256", AuthType: hub.AuthSelfSigned, PrimaryThumbprint: hex.EncodeToString(sum[:]), SecondaryThumbprint: hubtest.Thumbprint(leaf.TLS())},
		{ID: "by-authority", AuthType: hub.AuthCertificateAuthority},
	} {
		if _, err := h.CreateDevice(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.AddAuthority(t.Context(), "plant-7", authority.PEM(), true); err != nil {
		t.Fatal(err)
	}
	with := func(name, device, chain, key, wrong string) attempt {
		return attempt{Name: name, Device: "HostName=" + hubtest.Contoso + ";DeviceId=" + device + ";x509=true", Cert: chain, Key: key, wrong: wrong}
	}
	const no = "UnauthorizedError"
	byThumbprint := []attempt{
		with("its own", "by-thumbprint", self.PEM(), self.KeyPEM(t), ""),
		with("its second one, by SHA-256", "by-sha256", leaf.PEM(), leaf.KeyPEM(t), ""),
		with("another's", "by-thumbprint", other.PEM(), other.KeyPEM(t), no),
	}
	byAuthority := []attempt{
		with("its own", "by-authority", leaf.PEM(), leaf.KeyPEM(t), ""),
		with("its own, by a second authority in between", "by-authority", chained.ChainPEM(), chained.KeyPEM(t), ""),
		with("its own, without what is in between", "by-authority", chained.PEM(), chained.KeyPEM(t), no),
		with("another's", "by-authority", other.PEM(), other.KeyPEM(t), no),
		with("one of an authority that is not the hub's", "by-authority", forged.PEM(), forged.KeyPEM(t), no),
		with("one that no authority signed", "by-authority", self.PEM(), self.KeyPEM(t), no),
	}
	come := newEvents(t, w)
	for _, tr := range transports {
		t.Run("C03 by thumbprint over "+tr.name, func(t *testing.T) {
			covers(t, "C03", tr.pkg)
			if tr.amqp() { // where it puts no token
				covers(t, "C13", tr.pkg)
			}
			tryAll(t, w, tr.name, byThumbprint)
		})
		t.Run("C04 by authority over "+tr.name, func(t *testing.T) {
			covers(t, "C04", tr.pkg)
			tryAll(t, w, tr.name, byAuthority)
		})
		for _, e := range come(4) {
			if e.System["iothub-connection-auth-method"] != `{"scope":"device","type":"x509","issuer":"iothub"}` {
				t.Errorf("%v", e.System)
			}
		}
	}
}
