package storagestore

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
)

// Blob is a blob as its name finds it.
type Blob struct {
	Container  string
	Name       string
	ETag       string
	Created    time.Time
	Modified   time.Time
	Size       int64
	Properties Properties
	Lease      Lease
	Content    string // id of the content; empty when it is in Small
	Small      []byte
}

// Properties are what a writer says about a blob's content, and how it came to be.
type Properties struct {
	ContentType        string            `json:"contentType,omitempty"`
	ContentEncoding    string            `json:"contentEncoding,omitempty"`
	ContentLanguage    string            `json:"contentLanguage,omitempty"`
	ContentDisposition string            `json:"contentDisposition,omitempty"`
	CacheControl       string            `json:"cacheControl,omitempty"`
	MD5                []byte            `json:"md5,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	Copied             *Copied           `json:"copied,omitempty"`
}

// Copied says of which blob this one was made as a copy.
type Copied struct {
	ID     string    `json:"id"`
	Source string    `json:"source"` // its URL, without a signature
	At     time.Time `json:"at"`
}

// Lease is who may change a blob for a while. Its zero value is nobody's.
type Lease struct {
	ID       string    `json:"id,omitempty"`
	Seconds  int       `json:"seconds,omitempty"` // 0: without end
	Until    time.Time `json:"until,omitzero"`    // when it lapses; zero: never
	Breaking bool      `json:"breaking,omitempty"`
	Broken   bool      `json:"broken,omitempty"`
}

const blobColumns = "container, name, etag, created, modified, size, properties, lease, content, small"

func (b *Blob) scan(scan func(...any) error) error {
	var created, modified int64
	var properties, lease string
	if err := scan(&b.Container, &b.Name, &b.ETag, &created, &modified, &b.Size, &properties, &lease, &b.Content, &b.Small); err != nil {
		return err
	}
	b.Created, b.Modified = at(created), at(modified)
	if err := unmarshal(properties, &b.Properties); err != nil {
		return err
	}
	return unmarshal(lease, &b.Lease)
}

func unmarshal(text string, to any) error {
	if text == "" {
		return nil
	}
	return fault.Wrap("storagestore.Blob", fault.Internal, json.Unmarshal([]byte(text), to), "")
}

// Blob returns a blob; ok is false when there is none.
func (tx *Tx) Blob(account, container, name string) (b Blob, ok bool, err error) {
	err = tx.sql.Rows(func(scan func(...any) error) error {
		ok = true
		return b.scan(scan)
	}, "SELECT "+blobColumns+" FROM st_blobs WHERE account = ? AND container = ? AND name = ?", account, container, name)
	return b, ok, err
}

// Blobs returns up to limit blobs of a container whose name begins with prefix and is not before from, by name. What Small holds is left
// out.
func (tx *Tx) Blobs(account, container, prefix, from string, limit int) ([]Blob, error) {
	var out []Blob
	query, args := "SELECT container, name, etag, created, modified, size, properties, lease, content, NULL FROM st_blobs WHERE account = ? AND container = ? AND name >= ?",
		[]any{account, container, max(prefix, from)}
	if end, ok := After(prefix); ok {
		query, args = query+" AND name < ?", append(args, end)
	}
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var b Blob
		err := b.scan(scan)
		out = append(out, b)
		return err
	}, query+" ORDER BY name LIMIT ?", append(args, limit)...)
	return out, err
}

// After returns the first text that is after everything which begins with prefix. ok is false when there is none.
func After(prefix string) (text string, ok bool) {
	for prefix != "" {
		r, n := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-n]
		switch {
		case r == 0xD7FF:
			return prefix + "\uE000", true
		case r < utf8.MaxRune:
			return prefix + string(r+1), true
		}
	}
	return "", false
}

// PutBlob makes a blob or replaces it. A content that the one before had is garbage from now on, unless others share it; the new one is not
// any more.
func (tx *Tx) PutBlob(account string, b Blob, now time.Time) error {
	op := "storagestore.PutBlob"
	old, had, err := tx.content(account, b.Container, b.Name)
	if err != nil {
		return err
	}
	properties, err := json.Marshal(b.Properties)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	lease := ""
	if b.Lease != (Lease{}) {
		text, err := json.Marshal(b.Lease)
		if err != nil {
			return fault.Wrap(op, fault.Internal, err, "")
		}
		lease = string(text)
	}
	if _, err := tx.sql.Exec("INSERT INTO st_blobs (account, "+blobColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (account, container, name) DO UPDATE SET etag = excluded.etag, created = excluded.created, modified = excluded.modified, size = excluded.size, "+
		"properties = excluded.properties, lease = excluded.lease, content = excluded.content, small = excluded.small",
		account, b.Container, b.Name, b.ETag, ms(b.Created), ms(b.Modified), b.Size, string(properties), lease, b.Content, b.Small); err != nil {
		return err
	}
	if had && old != "" && old != b.Content {
		if err := tx.discard(account, old, now); err != nil {
			return err
		}
	}
	if b.Content == "" || b.Content == old {
		return nil
	}
	_, err = tx.sql.Exec("DELETE FROM st_garbage WHERE account = ? AND content = ?", account, b.Content)
	return err
}

func (tx *Tx) content(account, container, name string) (content string, had bool, err error) {
	had, err = tx.sql.Row([]any{&content}, "SELECT content FROM st_blobs WHERE account = ? AND container = ? AND name = ?", account, container, name)
	return content, had, err
}

// DeleteBlob removes a blob. NotFound when there is none.
func (tx *Tx) DeleteBlob(account, container, name string, now time.Time) error {
	content, had, err := tx.content(account, container, name)
	if err != nil {
		return err
	}
	if !had {
		return fault.Newf("storagestore.DeleteBlob", fault.NotFound, "there is no blob %.100q", name)
	}
	if _, err := tx.sql.Exec("DELETE FROM st_blobs WHERE account = ? AND container = ? AND name = ?", account, container, name); err != nil || content == "" {
		return err
	}
	return tx.discard(account, content, now)
}

// discard notes a content as garbage if no blob has it.
func (tx *Tx) discard(account, content string, now time.Time) error {
	var one int
	if shared, err := tx.sql.Row([]any{&one}, "SELECT 1 FROM st_blobs WHERE account = ? AND content = ? AND content <> '' LIMIT 1", account, content); err != nil || shared {
		return err
	}
	return tx.Discard(account, content, now)
}

// Discard notes a content as garbage: one that a blob had, or one that is about to be written and is none until PutBlob.
func (tx *Tx) Discard(account, content string, now time.Time) error {
	_, err := tx.sql.Exec("INSERT INTO st_garbage (account, content, since) VALUES (?, ?, ?) ON CONFLICT (account, content) DO NOTHING", account, content, ms(now))
	return err
}

// Garbage is a content that no blob has.
type Garbage struct{ Account, Content string }

// Garbage returns up to limit contents, of all accounts, that have been garbage since a time or longer, the oldest first.
func (tx *Tx) Garbage(before time.Time, limit int) ([]Garbage, error) {
	var out []Garbage
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var g Garbage
		err := scan(&g.Account, &g.Content)
		out = append(out, g)
		return err
	}, "SELECT account, content FROM st_garbage WHERE since <= ? ORDER BY since, account, content LIMIT ?", ms(before), limit)
	return out, err
}

// Forget forgets contents that are deleted.
func (tx *Tx) Forget(list []Garbage) error {
	for _, g := range list {
		for _, table := range []string{"st_garbage", "st_blocks"} {
			if _, err := tx.sql.Exec("DELETE FROM "+table+" WHERE account = ? AND content = ?", g.Account, g.Content); err != nil {
				return err
			}
		}
	}
	return nil
}

// PutBlocks keeps of which blocks a content was made, as the caller encoded that.
func (tx *Tx) PutBlocks(account, content string, blocks []byte) error {
	_, err := tx.sql.Exec("INSERT INTO st_blocks (account, content, blocks) VALUES (?, ?, ?)", account, content, blocks)
	return err
}

// Blocks returns what PutBlocks was given, nil when that is nothing.
func (tx *Tx) Blocks(account, content string) ([]byte, error) {
	var b []byte
	_, err := tx.sql.Row([]any{&b}, "SELECT blocks FROM st_blocks WHERE account = ? AND content = ?", account, content)
	return b, err
}

// ValidName tells whether both databases can keep a name.
func ValidName(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsRune(name, 0)
}
