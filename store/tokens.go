package store

import (
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// JoinToken is what is kept of a join token.
type JoinToken struct {
	ID      string
	Hash    []byte // SHA-256 of the secret
	For     string
	Tenant  string
	Network string
	Name    string // the only name that may use it; empty for any
	Created time.Time
	MadeBy  string
	Expires time.Time
	Uses    int       // how many processes may join with it; 1 when 0 is added
	Used    int       // how many did
	UsedAt  time.Time // when it was last used; zero until then
	UsedBy  string    // the SPIFFE id that came of that
	UsedKey string    // hash of the public key it was last used with
	Revoked time.Time // zero while nobody has revoked it; a token that is used up is never revoked

	RevokedBy string
	Reason    string // for which it was revoked

	Ephemeral time.Duration // after which what joined with it is removed when it was not seen; 0: never
}

// JoinUse is one process that joined with a token.
type JoinUse struct {
	Key string // hash of its public key, so that the same joiner may ask again
	By  string // its SPIFFE id
	At  time.Time
}

// AddJoinToken keeps a fresh token.
func (tx *Tx) AddJoinToken(t JoinToken) error {
	_, err := tx.sql.Exec("INSERT INTO join_tokens (id, hash, joiner, tenant, network, name, created, made_by, expires, uses, ephemeral) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		t.ID, t.Hash, t.For, t.Tenant, t.Network, t.Name, nanos(t.Created), t.MadeBy, nanos(t.Expires), max(t.Uses, 1), int64(t.Ephemeral))
	return err
}

const joinColumns = "id, hash, joiner, tenant, network, name, created, made_by, expires, used_at, used_by, used_key, revoked_at, revoked_by, reason, uses, used, ephemeral"

// JoinToken returns a token; ok is false when there is none with this id.
func (tx *Tx) JoinToken(id string) (t JoinToken, ok bool, err error) {
	list, err := tx.joinTokens("id = ?", id)
	if err != nil || len(list) == 0 {
		return JoinToken{}, false, err
	}
	return list[0], true, nil
}

// JoinTokens returns the tokens of a tenant, or all of them, the oldest first, until they are forgotten or dropped.
func (tx *Tx) JoinTokens(tenant string, all bool) ([]JoinToken, error) {
	if all {
		return tx.joinTokens("id <> ?", "")
	}
	return tx.joinTokens("tenant = ?", tenant)
}

func (tx *Tx) joinTokens(where string, arg any) ([]JoinToken, error) {
	var out []JoinToken
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var t JoinToken
		var created, expires, used, revoked, ephemeral int64
		if err := scan(&t.ID, &t.Hash, &t.For, &t.Tenant, &t.Network, &t.Name, &created, &t.MadeBy, &expires, &used, &t.UsedBy, &t.UsedKey,
			&revoked, &t.RevokedBy, &t.Reason, &t.Uses, &t.Used, &ephemeral); err != nil {
			return err
		}
		t.Ephemeral = time.Duration(ephemeral)
		t.Created, t.Expires, t.UsedAt, t.Revoked = moment(created), moment(expires), moment(used), moment(revoked)
		out = append(out, t)
		return nil
	}, "SELECT "+joinColumns+" FROM join_tokens WHERE "+where+" ORDER BY created, id", arg)
	return out, err
}

// UseJoinToken counts one use of a token; Conflict when it is used up, was revoked, or was used with this key.
func (tx *Tx) UseJoinToken(id string, use JoinUse) error {
	n, err := tx.sql.Exec("UPDATE join_tokens SET used = used + 1, used_at = ?, used_by = ?, used_key = ? WHERE id = ? AND used < uses AND revoked_at = 0",
		nanos(use.At), use.By, use.Key, id)
	if err == nil && n == 0 {
		return fault.New("store.UseJoinToken", fault.Conflict, "the join token was used or revoked before")
	}
	if err != nil {
		return err
	}
	_, err = tx.sql.Exec("INSERT INTO join_uses (token, used_key, used_by, used_at) VALUES (?, ?, ?, ?)", id, use.Key, use.By, nanos(use.At))
	return err
}

// JoinUse returns the use of a token with a key; ok is false when there was none.
func (tx *Tx) JoinUse(id, key string) (u JoinUse, ok bool, err error) {
	var at int64
	u.Key = key
	ok, err = tx.sql.Row([]any{&u.By, &at}, "SELECT used_by, used_at FROM join_uses WHERE token = ? AND used_key = ?", id, key)
	u.At = moment(at)
	return u, ok, err
}

// RevokeJoinToken ends a token that is not used up; ok is false when it is, when it was revoked, or when there is none.
func (tx *Tx) RevokeJoinToken(id string, at time.Time, by, reason string) (ok bool, err error) {
	n, err := tx.sql.Exec("UPDATE join_tokens SET revoked_at = ?, revoked_by = ?, reason = ? WHERE id = ? AND used < uses AND revoked_at = 0",
		nanos(at), by, reason, id)
	return n > 0, err
}

// ForgetJoinTokens drops the tokens which expired before a moment and tells how many.
func (tx *Tx) ForgetJoinTokens(before time.Time) (int64, error) {
	return tx.sql.Exec("DELETE FROM join_tokens WHERE expires < ?", nanos(before))
}

// DropJoinTokens drops the tokens of a network that goes, so that another of the same name is not joined with them.
func (tx *Tx) DropJoinTokens(tenant, network string) error {
	_, err := tx.sql.Exec("DELETE FROM join_tokens WHERE tenant = ? AND network = ?", tenant, network)
	return err
}

// APIToken is what is kept of an API token.
type APIToken struct {
	ID       string
	Hash     []byte // SHA-256 of the whole token
	Name     string
	Tenant   string    // empty for the whole deployment
	Role     string    // empty for a person's, who has roles of his own
	Person   string    // uid; empty for a program's
	Provider string    // at which the person signed in for it; empty for one that was made by hand
	Expires  time.Time // zero: never
	Created  time.Time
	MadeBy   string
	Revoked  time.Time // zero while it is good
	LastUsed time.Time
}

const apiColumns = "id, hash, name, tenant, role, created, made_by, revoked, last_used, person, provider, expires"

// AddAPIToken keeps a fresh token.
func (tx *Tx) AddAPIToken(t APIToken) error {
	_, err := tx.sql.Exec("INSERT INTO api_tokens ("+apiColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		t.ID, t.Hash, t.Name, t.Tenant, t.Role, nanos(t.Created), t.MadeBy, nanos(t.Revoked), nanos(t.LastUsed), t.Person, t.Provider, nanos(t.Expires))
	return err
}

// APIToken returns a token; ok is false when there is none with this id.
func (tx *Tx) APIToken(id string) (t APIToken, ok bool, err error) {
	list, err := tx.apiTokens("id = ?", id)
	if err != nil || len(list) == 0 {
		return APIToken{}, false, err
	}
	return list[0], true, nil
}

// APITokens returns the tokens of a tenant, or all of them, the oldest first.
func (tx *Tx) APITokens(tenant string, all bool) ([]APIToken, error) {
	if all {
		return tx.apiTokens("id <> ?", "")
	}
	return tx.apiTokens("tenant = ?", tenant)
}

func (tx *Tx) apiTokens(where string, arg any) ([]APIToken, error) {
	var out []APIToken
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var t APIToken
		var created, revoked, used, expires int64
		if err := scan(&t.ID, &t.Hash, &t.Name, &t.Tenant, &t.Role, &created, &t.MadeBy, &revoked, &used, &t.Person, &t.Provider, &expires); err != nil {
			return err
		}
		t.Created, t.Revoked, t.LastUsed = moment(created), moment(revoked), moment(used)
		t.Expires = moment(expires)
		out = append(out, t)
		return nil
	}, "SELECT "+apiColumns+" FROM api_tokens WHERE "+where+" ORDER BY created, id", arg)
	return out, err
}

// TokensOf returns a person's tokens, the oldest first.
func (tx *Tx) TokensOf(person string) ([]APIToken, error) { return tx.apiTokens("person = ?", person) }

// ForgetAPITokens drops tokens which expired before a moment: those of sign-ins, of which there are many.
func (tx *Tx) ForgetAPITokens(before time.Time) error {
	_, err := tx.sql.Exec("DELETE FROM api_tokens WHERE expires <> 0 AND expires < ?", nanos(before))
	return err
}

// RevokeAPIToken ends a token; ok is false when it had ended, or there is none.
func (tx *Tx) RevokeAPIToken(id string, at time.Time) (ok bool, err error) {
	n, err := tx.sql.Exec("UPDATE api_tokens SET revoked = ? WHERE id = ? AND revoked = 0", nanos(at), id)
	return n > 0, err
}

// TouchAPIToken notes when a token was last used.
func (tx *Tx) TouchAPIToken(id string, at time.Time) error {
	_, err := tx.sql.Exec("UPDATE api_tokens SET last_used = ? WHERE id = ? AND last_used < ?", nanos(at), id, nanos(at))
	return err
}
