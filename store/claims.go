package store

import (
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// TakeAddress gives an address of a network to an endpoint, all by uid. Conflict when it is taken.
func (tx *Tx) TakeAddress(network string, a netip.Addr, endpoint string) error {
	_, err := tx.sql.Exec("INSERT INTO addresses (network, address, endpoint) VALUES (?, ?, ?)", network, a.String(), endpoint)
	if fault.KindOf(err) == fault.Conflict {
		return fault.Newf("store.TakeAddress", fault.Conflict, "the address %s is taken", a).
			Advise("choose another, or leave spec.address out and one is chosen").Because(err)
	}
	return err
}

// Addresses returns who has which address of a network: address to endpoint uid.
func (tx *Tx) Addresses(network string) (map[netip.Addr]string, error) {
	out := map[netip.Addr]string{}
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var address, endpoint string
		if err := scan(&address, &endpoint); err != nil {
			return err
		}
		a, err := netip.ParseAddr(address)
		if err != nil {
			return fault.Wrap("store.Addresses", fault.Internal, err, "")
		}
		out[a] = endpoint
		return nil
	}, "SELECT address, endpoint FROM addresses WHERE network = ?", network)
	return out, err
}

// TakeLink gives a link id to an endpoint. ok is false when the id is taken, so that the caller draws another.
func (tx *Tx) TakeLink(id uint32, endpoint string) (ok bool, err error) {
	// Asking first, because PostgreSQL gives a transaction up at the first statement that fails.
	var n int
	if taken, err := tx.sql.Row([]any{&n}, "SELECT 1 FROM links WHERE id = ?", int64(id)); err != nil || taken {
		return false, err
	}
	_, err = tx.sql.Exec("INSERT INTO links (id, endpoint) VALUES (?, ?)", int64(id), endpoint)
	return err == nil, err
}

// SetLinkKey gives a service the key that proves PROXY headers to the hub which serves it.
func (tx *Tx) SetLinkKey(service string, key []byte) error {
	_, err := tx.sql.Exec("INSERT INTO link_keys (service, secret) VALUES (?, ?) ON CONFLICT (service) DO UPDATE SET secret = excluded.secret", service, key)
	return err
}

// LinkKeys returns the keys by the service's uid.
func (tx *Tx) LinkKeys() (map[string][]byte, error) {
	out := map[string][]byte{}
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var service string
		var key []byte
		if err := scan(&service, &key); err != nil {
			return err
		}
		out[service] = key
		return nil
	}, "SELECT service, secret FROM link_keys")
	return out, err
}

// LinkKey returns one service's key, nil when it has none.
func (tx *Tx) LinkKey(service string) (key []byte, err error) {
	_, err = tx.sql.Row([]any{&key}, "SELECT secret FROM link_keys WHERE service = ?", service)
	return key, err
}

// Revoked is an identity that was deleted while its certificate had still time to run.
type Revoked struct {
	ID              string // SPIFFE id
	Tenant, Network string // empty for a relay
	NotAfter        time.Time
}

// Revoke remembers an identity until its certificate lapses by itself.
func (tx *Tx) Revoke(r Revoked) error {
	_, err := tx.sql.Exec("INSERT INTO revoked (id, tenant, network, not_after) VALUES (?, ?, ?, ?)", r.ID, r.Tenant, r.Network, nanos(r.NotAfter))
	return err
}

// RevokedIDs returns the identities revoked, by id.
func (tx *Tx) RevokedIDs() ([]Revoked, error) {
	var out []Revoked
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var r Revoked
		var end int64
		if err := scan(&r.ID, &r.Tenant, &r.Network, &end); err != nil {
			return err
		}
		r.NotAfter = moment(end)
		out = append(out, r)
		return nil
	}, "SELECT id, tenant, network, not_after FROM revoked ORDER BY id")
	return out, err
}

// ForgetRevoked drops the identities whose certificates have lapsed and tells how many.
func (tx *Tx) ForgetRevoked(now time.Time) (int64, error) {
	return tx.sql.Exec("DELETE FROM revoked WHERE not_after < ?", nanos(now))
}

// Setting returns a setting's value, empty when it was never set.
func (tx *Tx) Setting(name string) (string, error) {
	var v string
	_, err := tx.sql.Row([]any{&v}, "SELECT value FROM settings WHERE name = ?", name)
	return v, err
}

// SetSetting keeps a setting.
func (tx *Tx) SetSetting(name, value string) error {
	_, err := tx.sql.Exec("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	return err
}
