package store

import (
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// Person is one human being of one tenant.
type Person struct {
	UID, Tenant, Name string
	Provider, Subject string // of the identity provider; empty for one who does not sign in there
	Issuer            string // to whom the subject means something; the provider may have had another since
	Roles             []resource.TenantRole
	Created           time.Time
	MadeBy            string
	Disabled          time.Time // zero while the person may do anything
	SignedIn          time.Time
}

const peopleColumns = "uid, tenant, name, provider, issuer, subject, roles, created, made_by, disabled, signed_in"

func joinRoles(roles []resource.TenantRole) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, " ")
}

func splitRoles(s string) []resource.TenantRole {
	var out []resource.TenantRole
	for _, w := range strings.Fields(s) {
		out = append(out, resource.TenantRole(w))
	}
	return out
}

// AddPerson keeps a new person. Conflict when the tenant has one of this name.
func (tx *Tx) AddPerson(p Person) error {
	_, err := tx.sql.Exec("INSERT INTO people ("+peopleColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		p.UID, p.Tenant, p.Name, p.Provider, p.Issuer, p.Subject, joinRoles(p.Roles), nanos(p.Created), p.MadeBy, nanos(p.Disabled), nanos(p.SignedIn))
	return err
}

// PutPerson replaces what is kept of a person, found by uid.
func (tx *Tx) PutPerson(p Person) error {
	_, err := tx.sql.Exec("UPDATE people SET name = ?, provider = ?, issuer = ?, subject = ?, roles = ?, disabled = ?, signed_in = ? WHERE uid = ?",
		p.Name, p.Provider, p.Issuer, p.Subject, joinRoles(p.Roles), nanos(p.Disabled), nanos(p.SignedIn), p.UID)
	return err
}

// RemovePerson forgets a person for good.
func (tx *Tx) RemovePerson(uid string) error {
	_, err := tx.sql.Exec("DELETE FROM people WHERE uid = ?", uid)
	return err
}

// Person returns a person by uid; ok is false when there is none.
func (tx *Tx) Person(uid string) (p Person, ok bool, err error) { return tx.person("uid = ?", uid) }

// PersonNamed returns a person of a tenant by name.
func (tx *Tx) PersonNamed(tenant, name string) (p Person, ok bool, err error) {
	if !isText(tenant) || !isText(name) {
		return Person{}, false, nil
	}
	return tx.person("tenant = ? AND name = ?", tenant, name)
}

// PersonOf returns whom an identity provider of a tenant means by a subject.
func (tx *Tx) PersonOf(tenant, provider, subject string) (p Person, ok bool, err error) {
	return tx.person("tenant = ? AND provider = ? AND subject = ?", tenant, provider, subject)
}

// People returns the people of a tenant by name; of every tenant when it is empty.
func (tx *Tx) People(tenant string) ([]Person, error) {
	if tenant == "" {
		return tx.people("uid <> ''")
	}
	return tx.people("tenant = ?", tenant)
}

func (tx *Tx) person(where string, args ...any) (Person, bool, error) {
	list, err := tx.people(where, args...)
	if err != nil || len(list) == 0 {
		return Person{}, false, err
	}
	return list[0], true, nil
}

func (tx *Tx) people(where string, args ...any) ([]Person, error) {
	var out []Person
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var p Person
		var roles string
		var created, disabled, signed int64
		if err := scan(&p.UID, &p.Tenant, &p.Name, &p.Provider, &p.Issuer, &p.Subject, &roles, &created, &p.MadeBy, &disabled, &signed); err != nil {
			return err
		}
		p.Roles, p.Created, p.Disabled, p.SignedIn = splitRoles(roles), moment(created), moment(disabled), moment(signed)
		out = append(out, p)
		return nil
	}, "SELECT "+peopleColumns+" FROM people WHERE "+where+" ORDER BY tenant, name", args...)
	return out, err
}

// UseSignIn notes that an identity token was used; false when it was before. It is forgotten once it has expired.
func (tx *Tx) UseSignIn(hash []byte, expires, now time.Time) (fresh bool, err error) {
	if _, err := tx.sql.Exec("DELETE FROM sign_ins WHERE expires < ?", nanos(now)); err != nil {
		return false, err
	}
	n, err := tx.sql.Exec("INSERT INTO sign_ins (hash, expires) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING", hash, nanos(expires))
	return n == 1, err
}
