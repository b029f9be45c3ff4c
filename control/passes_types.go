package control

import (
	"time"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// PassRequest asks for a pass.
type PassRequest struct {
	CSR    string   `json:"csr" doc:"PEM; only its key is used"`
	Grants []string `json:"grants,omitempty" doc:"ids of the grants it is for; all of the person's when absent"`
}

// Pass lets a person's program build a link of its own, as an agent does, for an hour at most.
type Pass struct {
	Certificate string       `json:"certificate" doc:"PEM, with a SPIFFE id of the person"`
	Roots       string       `json:"roots" doc:"PEM of the deployment's authorities"`
	Expires     time.Time    `json:"expires"`
	Relays      []plan.Relay `json:"relays"`
	Grants      []PassGrant  `json:"grants" doc:"in force, or beginning within the hour"`
}

// PassGrant is where one grant leads.
type PassGrant struct {
	ID        string                  `json:"id"`
	Target    string                  `json:"target"` // TENANT/NETWORK/NAME
	TargetUID string                  `json:"targetUid"`
	Protocol  resource.TargetProtocol `json:"protocol" enum:"tcp,ssh,rdp"`
	Address   string                  `json:"address,omitempty" doc:"what is dialled there; for people of the target's tenant"`
	From      time.Time               `json:"from"`
	Until     time.Time               `json:"until"`
	Hours     *resource.WorkingHours  `json:"hours,omitempty"`
	Providers []plan.Peer             `json:"providers" doc:"processes that lead there; none while the agent has not joined"`
	Recorded  bool                    `json:"recorded"`
	Socks     bool                    `json:"socks" doc:"the policy lets the target be reached by SOCKS5"`
	Logins    []string                `json:"logins,omitempty" doc:"accounts an SSH certificate may name; any when absent"`
	HostKeys  []string                `json:"hostKeys,omitempty" doc:"the machine's SSH keys, as far as they are known"`
	HostCA    string                  `json:"hostCA,omitempty" doc:"the tenant's authority for SSH host certificates"`
}

// SSHCertificateRequest asks for a certificate for a person's SSH key.
type SSHCertificateRequest struct {
	Grant     string `json:"grant" doc:"id"`
	PublicKey string `json:"publicKey" doc:"as in an id_ed25519.pub file"`
	Login     string `json:"login" doc:"account of the machine"`
}

// SSHCertificate is an OpenSSH certificate (PROTOCOL.certkeys).
type SSHCertificate struct {
	Certificate string    `json:"certificate" doc:"a line of an id_ed25519-cert.pub file"`
	KeyID       string    `json:"keyId" doc:"what sshd writes into its log"`
	Principals  []string  `json:"principals" doc:"accounts, or a host's names"`
	Expires     time.Time `json:"expires"`
}

// SessionCertificateRequest is the agent's, which logs in for a person whose session it records.
type SessionCertificateRequest struct {
	Grant     string `json:"grant" doc:"id"`
	Session   string `json:"session" doc:"id"`
	PublicKey string `json:"publicKey" doc:"a key made for the session"`
	Login     string `json:"login" doc:"account of the machine"`
}

// SSHAuthority is the public half of a tenant's SSH authority.
type SSHAuthority struct {
	Tenant string `json:"tenant"`
	Users  string `json:"users" doc:"what a machine trusts for people: a line of the file that TrustedUserCAKeys of sshd_config names"`
	Hosts  string `json:"hosts" doc:"what people's machines trust for hosts: a line of known_hosts after @cert-authority PATTERN"`
}
