package httpdoor

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/throttle"
)

// People is what people and programs may ask of the control plane.
type People interface {
	Authenticate(ctx context.Context, bearer string) (control.Principal, error)
	CreateToken(ctx context.Context, p control.Principal, req control.TokenRequest) (secret string, t control.Token, err error)
	RevokeToken(ctx context.Context, p control.Principal, id string) error
	ListTokens(ctx context.Context, p control.Principal) ([]control.Token, error)
	Apply(ctx context.Context, p control.Principal, objects []resource.Object, opt control.ApplyOptions) ([]control.Change, error)
	Get(ctx context.Context, p control.Principal, key resource.Key) (resource.Object, error)
	List(ctx context.Context, p control.Principal, kind resource.Kind, f control.Filter) ([]resource.Object, error)
	Delete(ctx context.Context, p control.Principal, key resource.Key, reason string) error
	Connections(ctx context.Context, p control.Principal, f control.Filter) ([]control.ConnectionView, error)
	Decide(ctx context.Context, p control.Principal, endpoint resource.Key, d resource.Decision, reason string) (control.ConnectionView, error)
	DecideContract(ctx context.Context, p control.Principal, contract resource.Key, d control.ContractChoice) (*resource.Contract, error)
	CreateJoinToken(ctx context.Context, p control.Principal, req control.JoinTokenRequest) (control.JoinToken, error)
	ListJoinTokens(ctx context.Context, p control.Principal, f control.Filter) ([]control.JoinTokenView, error)
	RevokeJoinToken(ctx context.Context, p control.Principal, id, reason string) error
	NetworkNames(ctx context.Context, p control.Principal, network resource.Key) (control.NetworkNames, error)
	ExplainName(ctx context.Context, p control.Principal, network resource.Key, name, qtype string) (control.NameExplanation, error)
	ExplainGateway(ctx context.Context, p control.Principal, gateway resource.Key, q decide.Question) (control.GatewayExplanation, error)
	GatewayOutline(ctx context.Context, p control.Principal, gateway resource.Key) (control.GatewayOutline, error)
}

// Members is what agents, hubs and relays may ask of it.
type Members interface {
	Enrol(ctx context.Context, req control.EnrolRequest) (control.EnrolReply, error)
	Renew(ctx context.Context, id identity.ID, csr string) (control.CertificateReply, error)
	ServingCertificate(ctx context.Context, id identity.ID, csr string, hosts []string) (control.CertificateReply, error)
	Report(ctx context.Context, id identity.ID, r control.AgentReport) error
	WatchPlan(ctx context.Context, id identity.ID, changed func(plan.Plan) error) error
}

// API is what the door needs of package control.
type API interface {
	People
	Persons
	SignIns
	Members
	Chains
	Access
	Leaders
}

// Config is how the door behaves. With the zero value it serves people; members need Roots.
type Config struct {
	// Version is the program's, for /v1/version.
	Version string
	// TrustDomain is the deployment's.
	TrustDomain string
	// Roots are the authorities whose certificates members show.
	Roots *x509.CertPool
	// MaxBody bounds the body of an apply in bytes; 32 MiB when 0, which is two allowlists of 100,000 rules. Other bodies are small.
	MaxBody int64
	// KeepAlive is how often a quiet plan stream says that it is alive; 15 s when 0.
	KeepAlive time.Duration
	// RenewGrace is how long after its end a certificate may still be renewed; 30 days when 0, never when negative.
	RenewGrace time.Duration
}

func (c Config) withDefaults() Config {
	if c.MaxBody == 0 {
		c.MaxBody = 32 << 20
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = 15 * time.Second
	}
	if c.RenewGrace == 0 {
		c.RenewGrace = 30 * 24 * time.Hour
	}
	if c.Roots == nil {
		c.Roots = x509.NewCertPool()
	}
	return c
}

// door holds what handlers share. Its fields are immutable once made.
type door struct {
	ctl     API
	cfg     Config
	log     *slog.Logger
	clock   clock.Clock
	api     huma.API
	metrics *metrics
	guesses *throttle.Throttle[netip.Prefix]

	strangers *throttle.Throttle[netip.Prefix]
}

// New returns the door's handler. The registerer may be nil. The handler needs TLS only where members are concerned: without it they
// are refused.
func New(ctl API, cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) http.Handler {
	mux := http.NewServeMux()
	d := &door{ctl: ctl, cfg: cfg.withDefaults(), log: log, clock: clk, metrics: newMetrics(reg)}
	d.guesses = throttle.New[netip.Prefix](throttle.Config{Burst: guessBurst, Every: guessEvery}, clk)
	d.strangers = throttle.New[netip.Prefix](throttle.Config{Burst: strangerBurst, Every: strangerEvery}, clk)
	d.api = humago.New(mux, d.humaConfig())
	d.registerSelf(mux)
	d.registerResources()
	d.registerConnections()
	d.registerContracts()
	d.registerOutlines()
	d.registerWhy()
	d.registerTokens()
	d.registerPeople()
	d.registerSignIn()
	d.registerAudit()
	d.registerMembers()
	d.registerAccess()
	d.registerPlan()
	d.serveDocument(mux)
	return &outer{mux: mux, door: d}
}
