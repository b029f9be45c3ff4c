package provisioning

import (
	"context"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// MaxWeight is the largest share a hub can have in hashed allocation.
const MaxWeight = 1000

// LinkedHub is a hub a service assigns devices to.
type LinkedHub struct {
	HostName string `json:"hostName"`
	Weight   int    `json:"allocationWeight"` // in hashed allocation; 0: only where an enrollment or a webhook names it
	Here     bool   `json:"here"`             // of this process; others were linked by connection string
}

// LinkedHubs returns the hubs of the service: those of its process and tenant, which are linked by themselves, and those that were linked.
func (s *Service) LinkedHubs(ctx context.Context) ([]LinkedHub, error) {
	rows, err := s.store().LinkedHubs(ctx, s.id)
	if err != nil {
		return nil, err
	}
	local := s.local()
	out := make([]LinkedHub, 0, len(rows)+len(local))
	for _, r := range rows {
		here := slices.Contains(local, r.HostName)
		if here || r.Connection != "" {
			out = append(out, LinkedHub{r.HostName, r.Weight, here && r.Connection == ""})
		}
	}
	for _, name := range local {
		if !slices.ContainsFunc(out, func(h LinkedHub) bool { return h.HostName == name }) {
			out = append(out, LinkedHub{name, 1, true})
		}
	}
	return out, nil
}

func (s *Service) local() []string {
	if s.server.cfg.Hubs == nil {
		return nil
	}
	names := slices.Clone(s.server.cfg.Hubs.Names(s.id))
	slices.Sort(names)
	return names
}

// LinkHub links a hub elsewhere by the connection string of one of its policies, which needs to read and write its registry and twins.
// The string is kept and never shown. host is the host name that the string is expected to have.
func (s *Service) LinkHub(ctx context.Context, host, connection string, weight int) error {
	op := "provisioning.LinkHub"
	c, err := sas.ParseConnectionString(connection)
	if err != nil {
		return err
	}
	if c.Policy == "" {
		return fault.New(op, fault.Invalid, "this is the connection string of a device; a policy's is needed").Advise("use that of iothubowner")
	}
	if !strings.EqualFold(host, c.HostName) {
		return fault.Newf(op, fault.Invalid, "the connection string is of another hub than %.140q", host)
	}
	if s.server.cfg.Dial == nil {
		return fault.New(op, fault.Invalid, "this process links no hubs elsewhere")
	}
	return s.putHub(ctx, provisioningstore.LinkedHub{HostName: strings.ToLower(c.HostName), Connection: connection, Weight: weight})
}

// WeighHub changes the weight of a linked hub.
func (s *Service) WeighHub(ctx context.Context, host string, weight int) error {
	host = strings.ToLower(host)
	rows, err := s.store().LinkedHubs(ctx, s.id)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.HostName == host {
			r.Weight = weight
			return s.putHub(ctx, r)
		}
	}
	if !slices.Contains(s.local(), host) {
		return notLinked(host)
	}
	return s.putHub(ctx, provisioningstore.LinkedHub{HostName: host, Weight: weight})
}

func (s *Service) putHub(ctx context.Context, row provisioningstore.LinkedHub) error {
	if row.Weight < 0 || row.Weight > MaxWeight {
		return fault.Newf("provisioning.LinkHub", fault.Invalid, "the weight of a hub is %d", row.Weight).Advise("it is from 0 to %d", MaxWeight)
	}
	row.Service, row.Created = s.id, s.server.clock.Now()
	return s.store().Write(ctx, func(tx *provisioningstore.Tx) error { return tx.PutLinkedHub(row) })
}

// UnlinkHub takes a hub elsewhere away, or gives a hub of this process its weight of 1 back. Devices stay where they are.
func (s *Service) UnlinkHub(ctx context.Context, host string) error {
	host = strings.ToLower(host)
	if err := s.store().Write(ctx, func(tx *provisioningstore.Tx) error { return tx.DeleteLinkedHub(s.id, host) }); err != nil {
		return err
	}
	s.server.hangUp(s.id, host)
	return nil
}

func notLinked(host string) error {
	return fault.Newf("provisioning.hub", fault.NotFound, "no hub %.140q is linked", host).Advise("link it, or name one that is")
}

// hub returns the hub with this host name, by its connection string if it has one. NotFound when it is not linked.
func (s *Service) hub(ctx context.Context, host string) (Hub, error) {
	rows, err := s.store().LinkedHubs(ctx, s.id)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.HostName == host && r.Connection != "" {
			h, err := s.server.dial(s.id, r)
			if err != nil {
				return nil, err
			}
			return &farHub{h, s.server.far, host}, nil
		}
	}
	if s.server.cfg.Hubs == nil || !slices.Contains(s.local(), host) {
		return nil, notLinked(host)
	}
	return s.server.cfg.Hubs.Hub(s.id, host)
}

// dial returns the hub of a connection string, the same one until the string changes.
func (s *Server) dial(service string, r provisioningstore.LinkedHub) (Hub, error) {
	op := "provisioning.hub"
	if s.cfg.Dial == nil {
		return nil, fault.New(op, fault.Invalid, "this process links no hubs elsewhere")
	}
	key := service + " " + r.HostName
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.remote[key]; ok {
		if d.connection == r.Connection {
			return d.hub, nil
		}
		d.hub.Close()
		delete(s.remote, key)
	}
	c, err := sas.ParseConnectionString(r.Connection)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	h, err := s.cfg.Dial(service, c)
	if err != nil {
		return nil, err
	}
	s.remote[key] = dialled{r.Connection, h}
	return h, nil
}

func (s *Server) hangUp(service, host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := service + " " + host
	if d, ok := s.remote[key]; ok {
		d.hub.Close()
		delete(s.remote, key)
	}
}
