package httpdoor

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
)

// access says who may use a route over HTTPS. On the local socket everybody may.
type access uint8

const (
	byPolicy access = iota // whoever has a token of a policy with the route's right
	byDevice               // the identity in the path, or who may be any device
	byEdge                 // as byPolicy, and an edge device for its own modules, which its runtime makes
	byGrant                // as byPolicy, and who has a grant for a device's stream, which the handler checks
	byTicket               // whoever has the ticket that the handler checks
)

// route is one row of the door's table.
type route struct {
	method string
	path   string      // "{device}", "{module}", "{name}" and "{component}" stand for one segment each; see params
	by     access      //
	right  hub.Right   // for byPolicy, byEdge and byGrant
	or     hub.Right   // which do as well, where IoT Hub's documents ask for one in one place and for another elsewhere; 0 for none
	open   opening     // to which workloads
	class  limit.Class // what one request counts as; Connects, which none does, is nothing
	local  bool        // only on the local socket
	own    bool        // Isthmus's own: needs no api-version
	both   bool        // also for a provisioning service, whose other routes are not the door's
	serve  func(*exchange) error
}

// params are the parts of a path that stand for something.
type params struct {
	device, module string
	name           string // of a policy, a job, a message's lock, ...
	component      string // of a digital twin
}

// identity is the device or module of the path.
func (p *params) identity() hub.Name { return hub.Name{Device: p.device, Module: p.module} }

func (p *params) part(placeholder string) *string {
	switch placeholder {
	case "{device}":
		return &p.device
	case "{module}":
		return &p.module
	case "{component}":
		return &p.component
	}
	return &p.name
}

// maxSegments is the length of the longest path in the table; longer ones are nobody's.
const maxSegments = 8

// router finds routes by the first segment of the path, in the order of the table.
type router map[string][]compiled

type compiled struct {
	route
	segments []string
}

func newRouter(table []route, local bool) router {
	r := router{}
	for _, one := range table {
		if one.local && !local {
			continue
		}
		c := compiled{one, strings.Split(one.path, "/")}
		r[c.segments[0]] = append(r[c.segments[0]], c)
	}
	return r
}

// find returns the route of a request and what its path's parts are. Fixed segments are compared without regard to case, as some SDKs
// write them in lower case.
func (r router) find(q *http.Request) (*compiled, params, error) {
	op := "httpdoor.find"
	var room [maxSegments]string
	segments, fits := room[:0], true
	for s := range strings.SplitSeq(strings.Trim(q.URL.EscapedPath(), "/"), "/") {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return nil, params{}, fault.New(op, fault.Invalid, "the path is not percent-encoded")
		}
		if fits = len(segments) < maxSegments; !fits {
			break
		}
		segments = append(segments, plain)
	}
	known := false
	if fits {
		list := r[strings.ToLower(segments[0])]
		for i := range list {
			var p params
			if !list[i].match(segments, &p) {
				continue
			}
			known = true
			if list[i].method == q.Method {
				return &list[i], p, nil
			}
		}
	}
	if known {
		return nil, params{}, code.With(fault.Newf(op, fault.Invalid, "%.20q is not possible here", q.Method), code.MethodNotAllowed)
	}
	return nil, params{}, code.With(fault.Newf(op, fault.NotFound, "this hub has no %.20s %.100q", q.Method, q.URL.Path).
		Advise("docs/hub-api.md lists what there is, docs/azure-divergences.md what is not"), code.NotFound)
}

func (c *compiled) match(segments []string, p *params) bool {
	if len(c.segments) != len(segments) {
		return false
	}
	for i, s := range c.segments {
		if s[0] == '{' {
			*p.part(s) = segments[i]
		} else if !strings.EqualFold(s, segments[i]) {
			return false
		}
	}
	return true
}
