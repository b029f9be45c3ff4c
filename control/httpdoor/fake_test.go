package httpdoor_test

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

const adminToken = "the-admin-token"

// fake is a control plane of one page: it holds nouns and fails on demand.
type fake struct {
	mu        sync.Mutex
	nouns     map[resource.Key]resource.Object
	fail      error // what every method but Authenticate answers, when set
	applied   []resource.Object
	options   control.ApplyOptions
	deleted   []string
	decided   []resource.Decision
	contracts []control.ContractChoice
	join      control.JoinTokenRequest
	audit     control.AuditFilter
	records   []control.AuditRecord // answered by Audit instead of one, when set
	filter    control.Filter
	reports   []control.AgentReport
	hosts     []string
	enrolled  control.EnrolRequest

	asked asked

	people people

	plans   chan plan.Plan
	removed chan struct{}
}

func newFake() *fake {
	f := &fake{nouns: map[resource.Key]resource.Object{}, plans: make(chan plan.Plan, 8), removed: make(chan struct{})}
	e := &resource.PrivateEndpoint{Header: resource.Header{APIVersion: resource.APIVersion, Kind: resource.KindPrivateEndpoint,
		Metadata: resource.Meta{Tenant: "ot", Network: "plant-7", Name: "hub", UID: "u1", Generation: 3}},
		Spec: resource.PrivateEndpointSpec{Service: "ot/ot-cloud/contoso"}}
	e.Status.Connection = resource.Connection{State: resource.Pending, LinkID: 7}
	f.nouns[e.Key()] = e
	return f
}

func (f *fake) failing(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *fake) lock() (func(), error) {
	f.mu.Lock()
	return f.mu.Unlock, f.fail
}

func (f *fake) Authenticate(_ context.Context, bearer string) (control.Principal, error) {
	if bearer != adminToken {
		return control.Principal{}, fault.New("fake", fault.Unauthenticated, "the token is not known")
	}
	return control.Principal{Name: "root", Role: control.RoleAdmin}, nil
}

func (f *fake) CreateToken(_ context.Context, _ control.Principal, r control.TokenRequest) (string, control.Token, error) {
	unlock, err := f.lock()
	defer unlock()
	return "new-secret", control.Token{ID: "t1", Name: r.Name, Tenant: r.Tenant, Role: r.Role}, err
}

func (f *fake) RevokeToken(_ context.Context, _ control.Principal, id string) error {
	unlock, err := f.lock()
	defer unlock()
	f.deleted = append(f.deleted, "token "+id)
	return err
}

func (f *fake) ListTokens(context.Context, control.Principal) ([]control.Token, error) {
	unlock, err := f.lock()
	defer unlock()
	return nil, err
}

func (f *fake) Apply(_ context.Context, _ control.Principal, objects []resource.Object, opt control.ApplyOptions) ([]control.Change, error) {
	unlock, err := f.lock()
	defer unlock()
	f.applied, f.options = objects, opt
	var changes []control.Change
	for _, o := range objects {
		changes = append(changes, control.Change{Key: o.Head().Key(), Action: control.Created})
	}
	return changes, err
}

func (f *fake) Get(_ context.Context, _ control.Principal, key resource.Key) (resource.Object, error) {
	unlock, err := f.lock()
	defer unlock()
	if err != nil {
		return nil, err
	}
	if o := f.nouns[key]; o != nil {
		return o, nil
	}
	return nil, fault.Newf("fake", fault.NotFound, "there is no %s", key)
}

func (f *fake) List(_ context.Context, _ control.Principal, kind resource.Kind, filter control.Filter) ([]resource.Object, error) {
	unlock, err := f.lock()
	defer unlock()
	f.filter = filter
	var all []resource.Object
	for k, o := range f.nouns {
		if k.Kind == kind {
			all = append(all, o)
		}
	}
	return all, err
}

func (f *fake) Delete(_ context.Context, _ control.Principal, key resource.Key, reason string) error {
	unlock, err := f.lock()
	defer unlock()
	f.deleted = append(f.deleted, key.String()+" "+reason)
	return err
}

func (f *fake) Connections(_ context.Context, _ control.Principal, filter control.Filter) ([]control.ConnectionView, error) {
	unlock, err := f.lock()
	defer unlock()
	f.filter = filter
	return nil, err
}

func (f *fake) Decide(_ context.Context, _ control.Principal, key resource.Key, d resource.Decision, reason string) (control.ConnectionView, error) {
	unlock, err := f.lock()
	defer unlock()
	f.decided = append(f.decided, d)
	return control.ConnectionView{Endpoint: key.Path(), Connection: resource.Connection{State: resource.Approved, Description: reason}}, err
}

func (f *fake) CreateJoinToken(_ context.Context, _ control.Principal, r control.JoinTokenRequest) (control.JoinToken, error) {
	unlock, err := f.lock()
	defer unlock()
	f.join = r
	return control.JoinToken{ID: "j1", Secret: "isthmus-join.x"}, err
}

func (f *fake) ListJoinTokens(_ context.Context, _ control.Principal, filter control.Filter) ([]control.JoinTokenView, error) {
	unlock, err := f.lock()
	defer unlock()
	f.filter = filter
	return []control.JoinTokenView{{ID: "j1", For: control.JoinAgent, State: control.JoinUnused}}, err
}

func (f *fake) RevokeJoinToken(_ context.Context, _ control.Principal, id, reason string) error {
	unlock, err := f.lock()
	defer unlock()
	f.deleted = append(f.deleted, "join token "+id+" "+reason)
	return err
}

func (f *fake) ExplainName(_ context.Context, _ control.Principal, network resource.Key, name, qtype string) (control.NameExplanation, error) {
	unlock, err := f.lock()
	defer unlock()
	return control.NameExplanation{Network: network.Path(), Name: name, Type: qtype, Steps: []control.NameStep{{What: "answer", Detail: "NXDOMAIN"}}}, err
}

func (f *fake) ExplainGateway(_ context.Context, _ control.Principal, gateway resource.Key, q decide.Question) (control.GatewayExplanation, error) {
	unlock, err := f.lock()
	defer unlock()
	x := control.GatewayExplanation{CarriedBy: []string{"gw-1"}}
	x.Gateway, x.Source, x.Name, x.Port = gateway.Path(), q.Source, q.Name, q.Port
	return x, err
}

func (f *fake) Audit(_ context.Context, _ control.Principal, filter control.AuditFilter) ([]control.AuditRecord, error) {
	unlock, err := f.lock()
	defer unlock()
	f.audit = filter
	if f.records != nil {
		return f.records, err
	}
	return []control.AuditRecord{{Sequence: 1, Who: "root", Operation: "create", Time: time.Unix(1, 0).UTC(), After: []byte(`{"a":1}`)}}, err
}

func (f *fake) VerifyAudit(context.Context, control.Principal) error {
	unlock, err := f.lock()
	defer unlock()
	return err
}

func (f *fake) Enrol(_ context.Context, r control.EnrolRequest) (control.EnrolReply, error) {
	unlock, err := f.lock()
	defer unlock()
	f.enrolled = r
	return control.EnrolReply{ID: gateway, Name: "gw-1"}, err
}

func (f *fake) Renew(context.Context, identity.ID, string) (control.CertificateReply, error) {
	unlock, err := f.lock()
	defer unlock()
	return control.CertificateReply{Certificate: "renewed"}, err
}

func (f *fake) ServingCertificate(_ context.Context, _ identity.ID, _ string, hosts []string) (control.CertificateReply, error) {
	unlock, err := f.lock()
	defer unlock()
	f.hosts = hosts
	return control.CertificateReply{Certificate: "serving"}, err
}

func (f *fake) Report(_ context.Context, _ identity.ID, r control.AgentReport) error {
	unlock, err := f.lock()
	defer unlock()
	f.reports = append(f.reports, r)
	return err
}

func (f *fake) WatchPlan(ctx context.Context, id identity.ID, changed func(plan.Plan) error) error {
	unlock, err := f.lock()
	unlock()
	if err != nil {
		return err
	}
	for {
		select {
		case p := <-f.plans:
			if err := changed(p); err != nil {
				return err
			}
		case <-f.removed:
			return fault.Newf("fake", fault.Unauthenticated, "%s was deleted", id)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fake) NetworkNames(_ context.Context, _ control.Principal, key resource.Key) (control.NetworkNames, error) {
	return control.NetworkNames{Network: key.Path(), Names: []plan.Name{}, Zones: []string{}}, nil
}

func (f *fake) GatewayOutline(_ context.Context, _ control.Principal, key resource.Key) (control.GatewayOutline, error) {
	return control.GatewayOutline{Gateway: plan.Gateway{Name: key.Path()}}, nil
}

func (f *fake) DecideContract(_ context.Context, _ control.Principal, key resource.Key, d control.ContractChoice) (*resource.Contract, error) {
	unlock, err := f.lock()
	defer unlock()
	f.contracts = append(f.contracts, d)
	o, _ := resource.New(resource.KindContract)
	n := o.(*resource.Contract)
	n.Metadata = resource.Meta{Tenant: key.Tenant, Name: key.Name}
	n.Status = resource.ContractStatus{State: resource.ContractAgreed, Version: d.Version, Digest: d.Digest, Why: d.Reason}
	return n, err
}
