package control

import "github.com/isthmus-io/isthmus/store"

// leavePeople forgets the people of a tenant that goes; their tokens end with the tenant's.
func (w *work) leavePeople(tenant string) error {
	people, err := w.People(tenant)
	if err != nil {
		return err
	}
	for _, p := range people {
		open, err := w.Grants(store.GrantFilter{Person: p.UID, Open: true, Limit: maxGrantsOfTarget})
		if err != nil {
			return err
		}
		for _, g := range open {
			if err := w.cancelGrant(g, "the person's tenant was deleted"); err != nil {
				return err
			}
		}
		if err := w.RemovePerson(p.UID); err != nil {
			return err
		}
	}
	return w.DropKeys(tenant)
}
