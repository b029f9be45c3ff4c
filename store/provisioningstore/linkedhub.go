package provisioningstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// LinkedHub is a hub a service may assign devices to.
type LinkedHub struct {
	Service    string
	HostName   string // lower case
	Connection string // connection string of one of its policies; empty for a hub of the same process. A secret
	Weight     int    // in hashed allocation; 0 takes no part in allocation
	Created    time.Time
}

// LinkedHubs lists a service's linked hubs in the order they were linked.
func (s *Store) LinkedHubs(ctx context.Context, service string) ([]LinkedHub, error) {
	var out []LinkedHub
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		h := LinkedHub{Service: service}
		var created int64
		err := scan(&h.HostName, &h.Connection, &h.Weight, &created)
		h.Created = at(created)
		out = append(out, h)
		return err
	}, "SELECT host, connection, weight, created FROM dps_hubs WHERE service = ? ORDER BY created, host", service)
	return out, err
}

// PutLinkedHub links a hub or changes its link.
func (tx *Tx) PutLinkedHub(h LinkedHub) error {
	_, err := tx.sql.Exec("INSERT INTO dps_hubs (service, host, connection, weight, created) VALUES (?, ?, ?, ?, ?) "+
		"ON CONFLICT (service, host) DO UPDATE SET connection = excluded.connection, weight = excluded.weight",
		h.Service, h.HostName, h.Connection, h.Weight, ms(h.Created))
	return err
}

// DeleteLinkedHub takes a link away. NotFound when there is none.
func (tx *Tx) DeleteLinkedHub(service, host string) error {
	n, err := tx.sql.Exec("DELETE FROM dps_hubs WHERE service = ? AND host = ?", service, host)
	if err == nil && n == 0 {
		err = fault.Newf("provisioningstore.DeleteLinkedHub", fault.NotFound, "the hub %q is not linked", host)
	}
	return err
}
