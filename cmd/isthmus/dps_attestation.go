package main

import "github.com/isthmus-io/isthmus/provisioning/provisioningclient"

// attest changes how devices prove themselves; without a flag and a document it is by a key.
func (x *enrollmentFlags) attest(a *provisioningclient.Attestation) error {
	how := x.auth
	switch {
	case how != "":
	case len(x.certificates)+len(x.authority) > 0:
		how = attestX509
	case x.endorsement != "":
		how = attestTPM
	case x.primaryKey != "" || a.Type == "":
		how = "key"
	default:
		return nil
	}
	proof := proof{w: x.w, primaryKey: x.primaryKey, secondaryKey: x.secondaryKey}
	keys, err := proof.keys()
	switch {
	case err != nil:
		return err
	case how != "key" && keys != nil, how != attestX509 && len(x.certificates)+len(x.authority) > 0, how != attestTPM && x.endorsement != "":
		return usagef("a key or a certificate is given that has no place beside --auth %s", how).advise("leave it away, or --auth")
	case len(x.certificates) > 2 || len(x.authority) > 2 || len(x.certificates) > 0 && len(x.authority) > 0:
		return usagef("more certificates are given than two, or both --certificate and --authority").advise("give one, and one for the next")
	}
	switch how {
	case "key":
		*a = provisioningclient.Attestation{Type: attestKey}
		if keys != nil {
			a.SymmetricKey = &provisioningclient.SymmetricKeys{Primary: keys.Primary, Secondary: keys.Secondary}
		}
	case attestTPM:
		if x.endorsement == "" {
			return usagef("--endorsement-key is missing").advise("give the public key of the device's TPM, base64")
		}
		*a = provisioningclient.Attestation{Type: attestTPM, TPM: &provisioningclient.TPM{EndorsementKey: x.endorsement, StorageRootKey: x.storageRoot}}
	case attestX509:
		given, err := x.x509()
		if err != nil {
			return err
		}
		*a = provisioningclient.Attestation{Type: attestX509, X509: given}
	default:
		return usagef("--auth %q is none", how).advise("write key, x509 or, for one device, tpm")
	}
	return nil
}

func (x *enrollmentFlags) x509() (*provisioningclient.X509, error) {
	if len(x.authority) > 0 {
		r := &provisioningclient.References{Primary: x.authority[0]}
		if len(x.authority) > 1 {
			r.Secondary = x.authority[1]
		}
		return &provisioningclient.X509{CAReferences: r}, nil
	}
	var list []*provisioningclient.Certificate
	for _, file := range x.certificates {
		text, err := pemFile(file)
		if err != nil {
			return nil, err
		}
		list = append(list, &provisioningclient.Certificate{Certificate: text})
	}
	if len(list) == 0 {
		return nil, usagef("--certificate is missing").advise("name a PEM file with --certificate FILE")
	}
	both := &provisioningclient.Certificates{Primary: list[0]}
	if len(list) > 1 {
		both.Secondary = list[1]
	}
	if x.what.group {
		return &provisioningclient.X509{Signing: both}, nil
	}
	return &provisioningclient.X509{Client: both}, nil
}
