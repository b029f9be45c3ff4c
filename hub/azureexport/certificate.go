package azureexport

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// PEM returns the certificate, which Azure shows as base64 of DER or of PEM, or as PEM.
func (a *Authority) PEM() (string, error) {
	op := "azureexport.Authority"
	if a.Content == "" {
		return "", fault.Newf(op, fault.Invalid, "the certificate itself of authority %q is not in the export", a.Name).
			Advise("export it: az iot hub certificate list --hub-name NAME")
	}
	content := []byte(a.Content)
	if !strings.Contains(a.Content, "-----BEGIN") {
		b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(a.Content), ""))
		if err != nil {
			return "", fault.Newf(op, fault.Invalid, "what stands for the certificate of authority %q is neither base64 nor PEM", a.Name)
		}
		content = b
	}
	if block, _ := pem.Decode(content); block != nil {
		content = block.Bytes
	}
	if _, err := x509.ParseCertificate(content); err != nil {
		return "", fault.Newf(op, fault.Invalid, "authority %q is no certificate", a.Name).Because(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content})), nil
}
