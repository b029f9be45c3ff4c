package store

import "time"

// KeyPurpose is what a tenant's key is for.
type KeyPurpose string

const (
	KeySSHUsers   KeyPurpose = "ssh-users"  // signs people's SSH certificates
	KeySSHHosts   KeyPurpose = "ssh-hosts"  // signs machines' SSH certificates
	KeyRecordings KeyPurpose = "recordings" // opens recordings
)

// PublicKey is the half of a tenant's key that everybody may know.
type PublicKey struct {
	Tenant  string
	Purpose KeyPurpose
	Public  string
}

// AddSealedKey keeps a key whose private half is encrypted. Conflict when the tenant has one for the purpose. Plans carry the public half.
func (tx *Tx) AddSealedKey(k PublicKey, sealed []byte, at time.Time) error {
	tx.nouns = true
	_, err := tx.sql.Exec("INSERT INTO sealed_keys (tenant, purpose, public, sealed, created) VALUES (?, ?, ?, ?, ?)", k.Tenant, string(k.Purpose), k.Public, sealed, nanos(at))
	return err
}

// SealedKey returns the encrypted private half; ok is false when there is no such key.
func (tx *Tx) SealedKey(tenant string, p KeyPurpose) (sealed []byte, ok bool, err error) {
	ok, err = tx.sql.Row([]any{&sealed}, "SELECT sealed FROM sealed_keys WHERE tenant = ? AND purpose = ?", tenant, string(p))
	return sealed, ok, err
}

// PublicKeys returns those of every tenant.
func (tx *Tx) PublicKeys() ([]PublicKey, error) {
	var out []PublicKey
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var k PublicKey
		if err := scan(&k.Tenant, &k.Purpose, &k.Public); err != nil {
			return err
		}
		out = append(out, k)
		return nil
	}, "SELECT tenant, purpose, public FROM sealed_keys ORDER BY tenant, purpose")
	return out, err
}

// DropKeys forgets the keys of a tenant that goes.
func (tx *Tx) DropKeys(tenant string) error {
	_, err := tx.sql.Exec("DELETE FROM sealed_keys WHERE tenant = ?", tenant)
	return err
}

// DropAccess forgets the grants and sessions in the targets of a tenant that goes, so that another of its name does not see them. What they
// were stays in the audit log. Recordings stay until their time is over; nobody can ask for them.
func (tx *Tx) DropAccess(tenant string) error {
	tx.nouns = true
	for _, table := range []string{"grants", "sessions"} {
		if _, err := tx.sql.Exec("DELETE FROM "+table+" WHERE tenant = ?", tenant); err != nil {
			return err
		}
	}
	return nil
}
