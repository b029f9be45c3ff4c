package storagestore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Account is a blob service.
type Account struct {
	ID           string // uid of the service
	Created      time.Time
	PrimaryKey   string // base64
	SecondaryKey string
}

// Ensure returns the account of this id, which it makes with the values given when there is none.
func (s *Store) Ensure(ctx context.Context, wanted Account) (Account, error) {
	got := Account{ID: wanted.ID}
	err := s.db.Write(ctx, func(sql *database.Session) error {
		if _, err := sql.Exec("INSERT INTO st_accounts (id, created, primary_key, secondary_key) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
			wanted.ID, ms(wanted.Created), wanted.PrimaryKey, wanted.SecondaryKey); err != nil {
			return err
		}
		var created int64
		_, err := sql.Row([]any{&created, &got.PrimaryKey, &got.SecondaryKey}, "SELECT created, primary_key, secondary_key FROM st_accounts WHERE id = ?", wanted.ID)
		got.Created = at(created)
		return err
	})
	return got, err
}

// SetKeys replaces both keys of an account.
func (tx *Tx) SetKeys(a Account) error {
	n, err := tx.sql.Exec("UPDATE st_accounts SET primary_key = ?, secondary_key = ? WHERE id = ?", a.PrimaryKey, a.SecondaryKey, a.ID)
	if err == nil && n == 0 {
		err = fault.Newf("storagestore.SetKeys", fault.NotFound, "there is no account %s", a.ID)
	}
	return err
}

// Usage tells how many blobs an account has, and their bytes.
func (tx *Tx) Usage(account string) (blobs, bytes int64, err error) {
	_, err = tx.sql.Row([]any{&blobs, &bytes}, "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM st_blobs WHERE account = ?", account)
	return blobs, bytes, err
}

// Container is one of an account.
type Container struct {
	Name        string
	Incarnation string // another one when it is deleted and made again
	ETag        string
	Modified    time.Time
	Metadata    map[string]string
	Declared    bool // by the resource
}

const containerColumns = "container, incarnation, etag, modified, metadata, declared"

func (c *Container) scan(scan func(...any) error) error {
	var modified int64
	var metadata string
	var declared int
	if err := scan(&c.Name, &c.Incarnation, &c.ETag, &modified, &metadata, &declared); err != nil {
		return err
	}
	c.Modified, c.Declared = at(modified), declared != 0
	if metadata == "" {
		return nil
	}
	return json.Unmarshal([]byte(metadata), &c.Metadata)
}

// Containers returns up to limit containers whose name begins with prefix and is not before from, by name.
func (tx *Tx) Containers(account, prefix, from string, limit int) ([]Container, error) {
	var out []Container
	query, args := "SELECT "+containerColumns+" FROM st_containers WHERE account = ? AND container >= ?", []any{account, max(prefix, from)}
	if end, ok := After(prefix); ok {
		query, args = query+" AND container < ?", append(args, end)
	}
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var c Container
		err := c.scan(scan)
		out = append(out, c)
		return err
	}, query+" ORDER BY container LIMIT ?", append(args, limit)...)
	return out, err
}

// Container returns a container; ok is false when there is none.
func (tx *Tx) Container(account, name string) (c Container, ok bool, err error) {
	err = tx.sql.Rows(func(scan func(...any) error) error {
		ok = true
		return c.scan(scan)
	}, "SELECT "+containerColumns+" FROM st_containers WHERE account = ? AND container = ?", account, name)
	return c, ok, err
}

// PutContainer adds a container or replaces what is known of it; its incarnation stays.
func (tx *Tx) PutContainer(account string, c Container) error {
	metadata := ""
	if len(c.Metadata) > 0 {
		b, err := json.Marshal(c.Metadata)
		if err != nil {
			return fault.Wrap("storagestore.PutContainer", fault.Internal, err, "")
		}
		metadata = string(b)
	}
	_, err := tx.sql.Exec("INSERT INTO st_containers (account, "+containerColumns+") VALUES (?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (account, container) DO UPDATE SET etag = excluded.etag, modified = excluded.modified, metadata = excluded.metadata, declared = excluded.declared",
		account, c.Name, c.Incarnation, c.ETag, ms(c.Modified), metadata, bit(c.Declared))
	return err
}

// DeleteContainer removes a container with its blobs, whose contents are garbage from now on unless others share them. It tells how much
// went with it.
func (tx *Tx) DeleteContainer(account, name string, now time.Time) (blobs, bytes int64, err error) {
	if _, err = tx.sql.Row([]any{&blobs, &bytes}, "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM st_blobs WHERE account = ? AND container = ?", account, name); err != nil {
		return 0, 0, err
	}
	for _, s := range []struct {
		statement string
		args      []any
	}{
		{"INSERT INTO st_garbage (account, content, since) SELECT DISTINCT b.account, b.content, CAST(? AS BIGINT) FROM st_blobs b WHERE b.account = ? AND b.container = ? AND b.content <> '' " +
			"AND NOT EXISTS (SELECT 1 FROM st_blobs o WHERE o.account = b.account AND o.content = b.content AND o.content <> '' AND o.container <> b.container) " +
			"ON CONFLICT (account, content) DO NOTHING", []any{ms(now), account, name}},
		{"DELETE FROM st_blobs WHERE account = ? AND container = ?", []any{account, name}},
		{"DELETE FROM st_containers WHERE account = ? AND container = ?", []any{account, name}},
	} {
		if _, err := tx.sql.Exec(s.statement, s.args...); err != nil {
			return 0, 0, err
		}
	}
	return blobs, bytes, nil
}
