package control

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

var errSoon = fault.New("control", fault.Unavailable, "not built yet")

func (c *Control) Bootstrap(ctx context.Context) (adminToken string, err error) { return "", errSoon }
func (c *Control) Authenticate(ctx context.Context, bearer string) (Principal, error) {
	return Principal{}, errSoon
}
func (c *Control) CreateToken(ctx context.Context, p Principal, req TokenRequest) (secret string, t Token, err error) {
	return "", Token{}, errSoon
}
func (c *Control) RevokeToken(ctx context.Context, p Principal, id string) error { return errSoon }
func (c *Control) ListTokens(ctx context.Context, p Principal) ([]Token, error)  { return nil, errSoon }
func (c *Control) Apply(ctx context.Context, p Principal, objects []resource.Object, opt ApplyOptions) ([]Change, error) {
	return nil, errSoon
}
func (c *Control) Get(ctx context.Context, p Principal, key resource.Key) (resource.Object, error) {
	return nil, errSoon
}
func (c *Control) List(ctx context.Context, p Principal, kind resource.Kind, f Filter) ([]resource.Object, error) {
	return nil, errSoon
}
func (c *Control) Delete(ctx context.Context, p Principal, key resource.Key, reason string) error {
	return errSoon
}
func (c *Control) Connections(ctx context.Context, p Principal, f Filter) ([]ConnectionView, error) {
	return nil, errSoon
}
func (c *Control) Decide(ctx context.Context, p Principal, endpoint resource.Key, d resource.Decision, reason string) (ConnectionView, error) {
	return ConnectionView{}, errSoon
}
func (c *Control) CreateJoinToken(ctx context.Context, p Principal, req JoinTokenRequest) (JoinToken, error) {
	return JoinToken{}, errSoon
}
func (c *Control) Enrol(ctx context.Context, req EnrolRequest) (EnrolReply, error) {
	return EnrolReply{}, errSoon
}
func (c *Control) Renew(ctx context.Context, id identity.ID, csr string) (CertificateReply, error) {
	return CertificateReply{}, errSoon
}
func (c *Control) ServingCertificate(ctx context.Context, id identity.ID, csr string, hosts []string) (CertificateReply, error) {
	return CertificateReply{}, errSoon
}
func (c *Control) Report(ctx context.Context, id identity.ID, r AgentReport) error { return errSoon }
func (c *Control) WatchPlan(ctx context.Context, id identity.ID, changed func(plan.Plan) error) error {
	return errSoon
}
func (c *Control) Audit(ctx context.Context, p Principal, f AuditFilter) ([]AuditRecord, error) {
	return nil, errSoon
}
func (c *Control) VerifyAudit(ctx context.Context, p Principal) error { return errSoon }
