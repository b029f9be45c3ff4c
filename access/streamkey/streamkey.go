package streamkey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

const (
	prefix = "grant-"
	label  = "isthmus device stream grant\n"
)

// maxGrant is the longest id of a grant that is looked at.
const maxGrant = 128

// Policy is the name that stands for a grant where IoT Hub has the name of a policy: SharedAccessKeyName, and skn of a token.
func Policy(grant string) string { return prefix + grant }

// Grant takes the id of a grant out of such a name; ok is false for the name of a policy.
func Grant(policy string) (grant string, ok bool) {
	grant, ok = strings.CutPrefix(policy, prefix)
	if !ok || grant == "" || len(grant) > maxGrant {
		return "", false
	}
	return grant, true
}

// Key is the key of a grant at the hub with this link key: 32 bytes as base64. It is a secret of the grant's person.
func Key(linkKey []byte, grant string) string {
	mac := hmac.New(sha256.New, linkKey)
	mac.Write([]byte(label + grant))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// ConnectionString is what a person gives to a program, as the connection string of a service. host is the hub's public name.
func ConnectionString(host string, linkKey []byte, grant string) string {
	return "HostName=" + host + ";SharedAccessKeyName=" + Policy(grant) + ";SharedAccessKey=" + Key(linkKey, grant)
}
