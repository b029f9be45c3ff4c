package node

import (
	"crypto/x509"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	hubhttp "github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/node/amqpnode"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/workload"
)

// workloads know whose tokens the services of a hub process believe: those that agents of the deployment have signed.
type workloads struct {
	*workload.Verifier
	revoked atomic.Pointer[[]string]
}

func newWorkloads(roots func() *x509.CertPool, clk clock.Clock) *workloads {
	w := &workloads{}
	w.revoked.Store(&[]string{})
	w.Verifier = workload.NewVerifier(roots, func() []string { return *w.revoked.Load() }, clk)
	return w
}

// carryOut notes which agents are no more. It has to come before the services are told of a plan, which then look again at whom they let in.
func (w *workloads) carryOut(p plan.Plan) { w.revoked.Store(&p.Revoked) }

// authorize checks what a request for a namespace shows; from the public side of one that has closed it, only a trusted workload's token counts.
func (n *namespaces) authorize(r *http.Request, ns *eventhub.Namespace, path string, need eventhub.Right) (eventhub.Claim, error) {
	from, header := hubhttp.ArrivalOf(r.Context()), r.Header.Get("Authorization")
	if !from.Limited {
		return ns.Authorize(r.Context(), header, path, need)
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return eventhub.Claim{}, from.Hub.NotTrusted("node.authorize", "")
	}
	c, err := amqpnode.Trusted(r.Context(), from.Hub, ns, eventhub.TokenJWT, strings.TrimSpace(token))
	if err == nil && !c.Covers(path, need) {
		err = eventhub.Unauthorized("node.authorize", need)
	}
	return c, err
}

// verifier is nil where no workload counts: on a developer's machine, which has no deployment.
func (w *workloads) verifier() *workload.Verifier {
	if w == nil {
		return nil
	}
	return w.Verifier
}
