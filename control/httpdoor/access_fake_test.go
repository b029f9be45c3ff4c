package httpdoor_test

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/identity"
)

// asked is what the fake was asked about access.
type asked struct {
	request   control.GrantRequest
	decided   []string
	grants    control.GrantFilter
	waited    time.Duration
	pass      control.PassRequest
	sessions  control.SessionFilter
	records   []session.Record
	recording string
	question  control.AccessQuestion
	webhook   control.WebhookRequest
}

func (f *fake) RequestGrant(_ context.Context, _ control.Principal, r control.GrantRequest) (control.GrantView, error) {
	unlock, err := f.lock()
	defer unlock()
	f.asked.request = r
	return control.GrantView{Grant: grant.Grant{ID: "g1", Target: r.Target, State: grant.Requested}}, err
}

func (f *fake) DecideGrant(_ context.Context, _ control.Principal, id string, d control.GrantDecision, why string, more time.Duration) (control.GrantView, error) {
	unlock, err := f.lock()
	defer unlock()
	f.asked.decided = append(f.asked.decided, id+" "+string(d)+" "+why+" "+more.String())
	return control.GrantView{Grant: grant.Grant{ID: id, State: grant.Approved}}, err
}

func (f *fake) Grants(_ context.Context, _ control.Principal, filter control.GrantFilter) ([]control.GrantView, error) {
	unlock, err := f.lock()
	defer unlock()
	f.asked.grants = filter
	return nil, err
}

func (f *fake) Grant(_ context.Context, _ control.Principal, id string) (control.GrantView, error) {
	return control.GrantView{Grant: grant.Grant{ID: id}}, nil
}

func (f *fake) WaitGrant(_ context.Context, _ control.Principal, id string, d time.Duration) (control.GrantView, error) {
	unlock, err := f.lock()
	defer unlock()
	f.asked.waited = d
	return control.GrantView{Grant: grant.Grant{ID: id, State: grant.Approved}}, err
}

func (f *fake) Pass(_ context.Context, _ control.Principal, r control.PassRequest) (control.Pass, error) {
	unlock, err := f.lock()
	defer unlock()
	f.asked.pass = r
	return control.Pass{Certificate: "a pass", Grants: []control.PassGrant{}}, err
}

func (f *fake) SSHCertificate(_ context.Context, _ control.Principal, r control.SSHCertificateRequest) (control.SSHCertificate, error) {
	unlock, err := f.lock()
	defer unlock()
	return control.SSHCertificate{Certificate: "certificate of " + r.Login, Principals: []string{r.Login}}, err
}

func (f *fake) SSHAuthority(_ context.Context, _ control.Principal, tenant string) (control.SSHAuthority, error) {
	unlock, err := f.lock()
	defer unlock()
	return control.SSHAuthority{Tenant: tenant, Users: "ssh-ed25519 AAAA"}, err
}

func (f *fake) Sessions(_ context.Context, _ control.Principal, filter control.SessionFilter) ([]control.SessionView, error) {
	unlock, err := f.lock()
	defer unlock()
	f.asked.sessions = filter
	return nil, err
}

func (f *fake) Recording(_ context.Context, _ control.Principal, id string) (control.RecordingContent, error) {
	unlock, err := f.lock()
	defer unlock()
	return control.RecordingContent{ReadCloser: io.NopCloser(strings.NewReader("recording of " + id)), Size: int64(len("recording of " + id)), Sealed: id == "sealed"}, err
}

func (f *fake) ExplainAccess(_ context.Context, _ control.Principal, q control.AccessQuestion) (control.AccessExplanation, error) {
	unlock, err := f.lock()
	defer unlock()
	f.asked.question = q
	return control.AccessExplanation{Target: q.Target, Steps: []control.AccessCondition{}}, err
}

func (f *fake) CreateWebhook(_ context.Context, _ control.Principal, r control.WebhookRequest) (string, control.Webhook, error) {
	unlock, err := f.lock()
	defer unlock()
	f.asked.webhook = r
	return "webhook-secret", control.Webhook{ID: "w1", URL: r.URL}, err
}

func (f *fake) Webhooks(context.Context, control.Principal) ([]control.Webhook, error) {
	unlock, err := f.lock()
	defer unlock()
	return nil, err
}

func (f *fake) DeleteWebhook(_ context.Context, _ control.Principal, id string) error {
	unlock, err := f.lock()
	defer unlock()
	f.deleted = append(f.deleted, "webhook "+id)
	return err
}

func (f *fake) TestWebhook(_ context.Context, _ control.Principal, id string) error {
	unlock, err := f.lock()
	defer unlock()
	f.deleted = append(f.deleted, "tested "+id)
	return err
}

func (f *fake) NoteSessions(_ context.Context, _ identity.ID, records []session.Record) error {
	unlock, err := f.lock()
	defer unlock()
	f.asked.records = append(f.asked.records, records...)
	return err
}

func (f *fake) PutRecording(_ context.Context, _ identity.ID, id string, r io.Reader, size int64, sum string) error {
	unlock, err := f.lock()
	defer unlock()
	b, rerr := io.ReadAll(r)
	if rerr != nil {
		return rerr
	}
	if int64(len(b)) != size {
		sum = "of another length"
	}
	f.asked.recording = id + " " + sum + " " + string(b)
	return err
}

func (f *fake) CertifySession(_ context.Context, _ identity.ID, r control.SessionCertificateRequest) (control.SSHCertificate, error) {
	unlock, err := f.lock()
	defer unlock()
	return control.SSHCertificate{Certificate: "certificate of " + r.Session}, err
}

func (f *fake) HostCertificate(_ context.Context, _ identity.ID, publicKey string) (control.SSHCertificate, error) {
	unlock, err := f.lock()
	defer unlock()
	return control.SSHCertificate{Certificate: "certificate of " + publicKey}, err
}
